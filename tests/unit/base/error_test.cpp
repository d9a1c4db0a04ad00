// SPDX-License-Identifier: Apache-2.0
#include "config/base/error.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

namespace weft {
namespace {

TEST(Error, every_code_has_a_name_of_its_own) {
    std::set<std::string> names;
    for (auto code = uint8_t{0}; code <= static_cast<uint8_t>(Code::kernel); ++code)
        names.insert(name(static_cast<Code>(code)));
    EXPECT_EQ(names.size(), static_cast<size_t>(Code::kernel) + 1);
    EXPECT_FALSE(names.contains("unknown"));
}

TEST(Error, from_errno) {
    struct Row {
        int number;
        Code code;
    };
    constexpr Row rows[] = {
        {ECONNREFUSED, Code::refused},      {EPERM, Code::refused},      {EACCES, Code::refused},
        {ECONNRESET, Code::reset},          {EPIPE, Code::reset},        {ECONNABORTED, Code::reset},
        {ETIMEDOUT, Code::timeout},         {ECANCELED, Code::canceled}, {EMFILE, Code::unavailable},
        {ENFILE, Code::unavailable},        {ENOMEM, Code::unavailable}, {ENOBUFS, Code::unavailable},
        {EADDRNOTAVAIL, Code::unavailable}, {EINVAL, Code::kernel},      {ENOSYS, Code::kernel},
    };
    for (const auto& row : rows) {
        const Error error = from_errno(row.number, "connect", Side::upstream);
        EXPECT_EQ(error.code, row.code) << row.number;
        EXPECT_EQ(error.detail, row.number);
        EXPECT_EQ(error.side, Side::upstream);
        EXPECT_FALSE(error.retryable);
    }
}

TEST(Error, text) {
    EXPECT_EQ(to_string(from_errno(ECONNREFUSED, "connect")), "connect: refused (Connection refused)");
    EXPECT_EQ(to_string(fail(Code::too_large, "frame: length").error()), "frame: length: too_large");
    const Result<int> failed = fail(Code::timeout, "read", ETIMEDOUT);
    EXPECT_EQ(to_string(failed.error()), "read: timeout (Connection timed out)");
}

} // namespace
} // namespace weft
