# SPDX-License-Identifier: Apache-2.0
"""The processes themselves: privileges, feature probe, flags, files."""
import contextlib
import socket
import stat
import subprocess

import pytest
from lab import binary
from netns import run
from waiting import wait_until
from weft import ENGINE_USER, Agent, process_status


@pytest.mark.smoke
def test_engine_has_no_privileges(world):
    status = process_status(world.agent.engine_pid())
    assert status["Uid"].split() == [str(ENGINE_USER)] * 4
    assert set(status["Gid"].split()) != {"0"}
    assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["Groups"].split() in ([], [str(ENGINE_USER)])


def test_every_thread_of_the_engine_is_under_seccomp(world):
    import pathlib
    for thread in pathlib.Path(f"/proc/{world.agent.engine_pid()}/task").iterdir():
        assert "Seccomp:\t2" in (thread / "status").read_text()


def test_control_socket_is_the_owners_alone(world):
    mode = world.agent.socket_path.stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_agent_says_where_it_listens_and_nothing_else_listens(world):
    listening = run("ss", "-Hltnp").stdout
    ours = [line for line in listening.splitlines() if f"pid={world.agent.process.pid}," in line]
    assert len(ours) == 1 and f":{world.agent.metrics_port} " in ours[0]


def refused(lab, words, arguments=(), **options):
    """The agent refuses to start: exit code 2, one line that holds the words."""
    agent = Agent(lab, wrapper_log="refused.log", engine=False, arguments=arguments, **options)
    lab.agents.append(agent)
    code = agent.launch().wait(20)
    lines = [line for line in agent.log_path.read_text().splitlines() if line.strip()]
    agent.log_path.unlink()
    assert code == 2, lines
    assert len(lines) == 1 and all(word.lower() in lines[0].lower() for word in words), lines


def test_folder_that_is_no_cgroup2_is_refused(own_lab):
    refused(own_lab, ["cgroup"], cgroup=own_lab.folder)


def test_pin_folder_that_is_no_bpffs_is_refused(own_lab):
    refused(own_lab, ["bpf"], pin_dir=own_lab.folder / "pins")


@pytest.mark.parametrize("capability", ["cap_net_admin", "cap_sys_admin"])
def test_missing_capability_is_named(own_lab, capability):
    drop = "-" + capability.removeprefix("cap_")
    refused(own_lab, [capability], prefix=("setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}"))


def test_source_that_does_not_exist_at_start_is_reported_and_waited_for(own_lab):
    """A directory may be mounted late: the agent runs, says so, and picks it up."""
    missing = own_lab.folder / "later"
    agent = Agent(own_lab, source=missing)
    own_lab.agents.append(agent)
    agent.launch()
    wait_until(lambda: agent.http("/healthz")[0] == 200, "the agent runs", 15)
    wait_until(lambda: "later" in agent.ctl("status", check=False).stdout + agent.log_tail(), "the fault is reported")
    missing.mkdir()
    wait_until(lambda: agent.ctl("sync", check=False).returncode == 0, "the directory is read", 15)


@pytest.mark.parametrize("program,flag", [("weft-agent", "--no-such-flag"), ("weft-l7engine", "--workers=many"),
                                          ("weftctl", "--no-such-flag")])
def test_wrong_flag_gives_one_line_and_a_code(program, flag):
    done = subprocess.run([binary(program), flag], capture_output=True, text=True, timeout=20)
    assert done.returncode not in (0, -6, -11)
    assert len([line for line in done.stderr.splitlines() if line.strip()]) == 1, done.stderr


@pytest.mark.parametrize("program", ["weft-agent", "weft-l7engine", "weftctl"])
def test_help_and_version_succeed(program):
    for flag in ("--help", "--version"):
        done = subprocess.run([binary(program), flag], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0 and done.stdout.strip()


def test_weftctl_without_an_agent_says_so_and_fails(own_lab):
    for command in ("status", "sync"):
        done = run(binary("weftctl"), "--socket", own_lab.folder / "none.sock", command, check=False)
        assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, done


def test_agent_without_an_engine_flag_waits_for_one_that_connects_by_itself(own_lab):
    from world import PORT
    from http1 import request
    from manifests import namespace, policy, service, waypoint_gateway
    client, server = own_lab.pod("client"), own_lab.pod("server", labels={"app": "s"})
    server.serve(PORT)
    own_lab.apply("all.yaml", namespace("default"), waypoint_gateway(), client.manifest(), server.manifest(),
                  service("s", ["10.96.2.1"], PORT, waypoint="waypoint"), policy("p", "ALLOW", [{}]))
    agent = Agent(own_lab, engine=False, arguments=("--engine-user", ENGINE_USER))
    own_lab.agents.append(agent)
    agent.launch()
    wait_until(lambda: agent.http("/healthz")[0] == 200, "the agent runs", 15)
    engine = Agent(own_lab, wrapper_log="engine.log")
    engine.command = [binary("weft-l7engine"), "--socket", agent.socket_path, "--user", ENGINE_USER, "--workers", "1"]
    engine.launch()
    agent.sync()
    assert request(client, "10.96.2.1", PORT).status == 200
    engine.process.terminate()
    engine.process.wait(20)


def test_engine_survives_an_agent_that_talks_nonsense_and_serves_the_next_one(own_lab):
    """One clear line and one count for each, and a new connection every time."""
    from http1 import request
    from manifests import namespace, service, waypoint_gateway
    from world import PORT
    client, server = own_lab.pod("client"), own_lab.pod("server", labels={"app": "s"})
    server.serve(PORT)
    own_lab.apply("all.yaml", namespace("default"), waypoint_gateway(), client.manifest(), server.manifest(),
                  service("s", ["10.96.2.1"], PORT, waypoint="waypoint"))
    agent = Agent(own_lab, engine=False, arguments=("--engine-user", ENGINE_USER))
    own_lab.agents.append(agent)
    engine = Agent(own_lab, wrapper_log="engine.log")
    engine.command = [binary("weft-l7engine"), "--socket", agent.socket_path, "--user", ENGINE_USER, "--workers", "1"]
    nonsense = [(b"\xff\xff\xff\xff", "frame"), (b"\x64\0\0\0half", "frame"), (b"\x05", "frame"),
                (b"\x05\0\0\0\xff\xff\xff\xff\xff", "message"), (b"\0\0\0\0", "message"),
                (b"\x02\0\0\0\x0a\0", "message"), (b"GET / HTTP/1.1\r\n\r\n", "frame")]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(agent.socket_path))
        agent.socket_path.chmod(0o666)
        listener.listen()
        listener.settimeout(20)
        engine.launch()
        for said, _ in nonsense:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    while connection.recv(65536):
                        pass
    lines = [line for line in engine.log_path.read_text().splitlines() if "agent_connection_closed" in line]
    assert len(lines) == len(nonsense) and all("error=" in line for line in lines), lines
    agent.socket_path.unlink()
    agent.launch()
    wait_until(lambda: agent.http("/healthz")[0] == 200, "an agent runs", 15)
    agent.sync()
    assert request(client, "10.96.2.1", PORT, host="s").status == 200
    for reason in ("frame", "message"):
        assert agent.metrics().total("weft_l7_agent_disconnects_total", reason=reason) == \
            sum(1 for _, counted in nonsense if counted == reason)
    assert engine.process.poll() is None
    engine.process.terminate()
    engine.process.wait(20)
