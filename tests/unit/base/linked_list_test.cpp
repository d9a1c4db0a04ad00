// SPDX-License-Identifier: Apache-2.0
#include "config/base/linked_list.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace weft {
namespace {

struct Item : Linked<Item> {
    explicit Item(int number) : name(number) {}
    int name;
};

std::vector<int> names(const LinkedList<Item>& list) {
    std::vector<int> all;
    for (const Item* item : list)
        all.push_back(item->name);
    return all;
}

TEST(linked_list, removes_from_every_place_and_takes_again) {
    for (const int gone : {1, 2, 3}) {
        LinkedList<Item> list;
        EXPECT_EQ(list.first(), nullptr);
        Item items[] = {Item(1), Item(2), Item(3)};
        for (Item& item : items)
            list.add(item);
        EXPECT_EQ(names(list), (std::vector{3, 2, 1}));
        Item& one = items[gone - 1];
        LinkedList<Item>::remove(one);
        LinkedList<Item>::remove(one); // nothing
        EXPECT_EQ(list.size(), 2U);
        EXPECT_EQ(std::ranges::count(names(list), gone), 0);
        list.add(one);
        EXPECT_EQ(list.first(), &one);
        for (Item& item : items)
            LinkedList<Item>::remove(item);
        EXPECT_TRUE(list.empty());
    }
}

} // namespace
} // namespace weft
