"""`corrigenda schedule`: every form of one schedule, as its scheduler reads it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.k8s.scheduled_job import ScheduledJob
from jobs.submission.crontab import crontab
from jobs.submission.systemd import calendar_event, units
from pipeline.schedule import ScheduleConfig

SYSTEMD = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(SYSTEMD is None, reason="systemd is not on this machine")
JOB = ScheduledJob(
    name="corrigenda-mine",
    title="the editions of line mine, 100 % of them",
    command=("/bin/echo", "run", "--config", 'a "b" $HOME 100%.toml', "x\\y"),
    cron="30 2 * * 1,5",
    time_zone="Europe/Berlin",
    retries=2,
    deadline_s=7200,
)
CLUSTER = ("--image", "r/c:1", "--claim", "ws", "--workspace", "/workspace/mine")


def write(folder: Path, *, schedule: bool = True) -> Path:
    """A config of one table and one database, with a schedule."""
    (folder / "people.csv").write_text("subject,relation,object,date\nNeymar,P54,Paris,2020\n")
    config = folder / "mine.toml"
    config.write_text(
        'line = "mine"\n[[sources]]\nkind = "table"\nname = "people"\npath = "people.csv"\n'
        '[[sources]]\nkind = "sql"\nname = "crm"\nmodule = "psycopg"\nquery = "SELECT 1"\n'
        'key = "k"\narguments = { host = "db", password = "${CRM_KEY}" }\n'
        + ('[schedule]\ncron = "30 2 * * Mon,Fri"\ntime_zone = "Europe/Berlin"\n' * schedule)
    )
    return config


def test_a_crontab_line_runs_the_command(tmp_path: Path) -> None:
    """Its shell finds the directory, the secrets of the file and the words as they were, once cron
    has taken `\\%` for `%`."""
    env_file = tmp_path / "with space.env"
    env_file.write_text("KEY=s3cret\n")
    prints = ("/bin/sh", "-c", 'echo "$KEY $PWD"; printf "%s\\n" "$@"', *JOB.command)
    job = replace(JOB, command=prints)
    text = crontab(job, directory=str(tmp_path), env_file=str(env_file))
    comment, zone, line = text.splitlines()
    assert comment.startswith("# corrigenda-mine") and zone == "CRON_TZ=Europe/Berlin"
    *fields, command = line.split(" ", 5)
    assert " ".join(fields) == JOB.cron
    assert "%" not in command.replace("\\%", "")
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("\\%", "%")], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"s3cret {tmp_path}", *JOB.command[1:]]
    assert f"{JOB.deadline_s}" in shlex.split(command.replace("\\%", "%"))


@needs_systemd
def test_the_units_are_valid(tmp_path: Path) -> None:
    """systemd's own check says nothing of the two units, and something of one that is wrong."""
    made = units(JOB, directory=str(tmp_path), env_file=str(tmp_path / "mine.env"))
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    verify = [str(SYSTEMD), "verify", "--man=no", *(str(tmp_path / name) for name in made)]
    assert _errors(verify) == []
    service = tmp_path / "corrigenda-mine.service"
    service.write_text(service.read_text().replace("TimeoutStartSec", "TimeoutStrtSec"))
    assert any("TimeoutStrtSec" in line for line in _errors(verify))


@needs_systemd
@pytest.mark.parametrize("zone", ["Etc/UTC", "Europe/Berlin", "Pacific/Auckland"])
@pytest.mark.parametrize("cron", ["0 3 * * *", "30 2 * * Mon-Fri", "5 0 1,15 */3 *", "0 12 * * 7"])
def test_the_timer_is_due_when_the_schedule_is(cron: str, zone: str) -> None:
    """systemd and cron's rules name the same next moments."""
    schedule = ScheduleConfig(cron=cron, time_zone=zone)
    event = calendar_event(schedule.cron, zone)
    begin = datetime(2026, 6, 10, 11, 7, tzinfo=UTC)
    asked = [str(SYSTEMD), "calendar", "--iterations=6", f"--base-time={begin:%F %T} UTC", event]
    done = subprocess.run(
        asked, capture_output=True, text=True, check=True, env={"TZ": "UTC", "LC_ALL": "C"}
    )
    lines = [line.partition(": ") for line in done.stdout.splitlines()]
    found = [
        when.split(" ", 1)[1]
        for label, _, when in lines
        if label.strip() == "Next elapse" or label.strip().startswith("Iter")
    ]
    expected = []
    moment = begin
    for _ in range(6):
        moment = schedule.next_slot(moment).astimezone(UTC)
        expected.append(f"{moment:%F %T} UTC")
        moment += timedelta(minutes=1)
    assert found == expected


@pytest.mark.parametrize("form", ["crontab", "systemd"])
def test_this_machines_schedulers(form: str, corrigenda: Any, tmp_path: Path) -> None:
    """The command has absolute paths; secrets come out of a file, which has to be named."""
    config = write(tmp_path)
    words = ("schedule", "-c", config, "--as", form)
    code, _, err = corrigenda(*words)
    assert code == 1 and "the config refers to CRM_KEY: give --env-file" in err
    code, out, err = corrigenda(*words, "--env-file", "/etc/mine.env")
    assert code == 0 and f"run --config {config}" in out and "/etc/mine.env" in out
    assert "Europe/Berlin" in out and ("crontab -" in err or "enable --now" in err)
    place = tmp_path / "units"
    given = ("--address", "http://head:8265", "--workspace", "/mnt/ws", "--write", place)
    code, out, err = corrigenda(*words, "--env-file", "/etc/mine.env", *given)
    assert code == 0 and not out
    text = "".join(file.read_text() for file in place.iterdir())
    assert f"submit --config {config} --address http://head:8265 --workspace /mnt/ws" in text
    assert "The nodes of the cluster need CRM_KEY" in err


def test_kubernetes(corrigenda: Any, tmp_path: Path) -> None:
    """A CronJob that runs the config, or submits it; the secret is told of, and not rendered."""
    config = write(tmp_path)
    words = ("schedule", "-c", config, "--as", "cronjob", *CLUSTER)
    code, out, err = corrigenda(*words)
    assert code == 0, err
    config_map, cron_job = yaml.safe_load_all(out)
    assert config_map["data"]["file-0"] == config.read_text()
    assert cron_job["spec"]["schedule"] == "30 2 * * 1,5"
    assert "kubectl create secret generic corrigenda-mine" in err and "CRM_KEY" in err
    code, out, _ = corrigenda(*words, "--address", "http://head:8265", "--json")
    [text] = json.loads(out)["files"].values()
    [container] = _containers([*yaml.safe_load_all(text)][-1])
    assert container["command"] == [
        *("corrigenda", "submit", "--config", "/etc/corrigenda/mine.toml"),
        *("--address", "http://head:8265", "--workspace", "/workspace/mine"),
    ]


@pytest.mark.parametrize("form", ["rayjob", "raycluster", "raycronjob"])
def test_kuberay(form: str, corrigenda: Any, tmp_path: Path) -> None:
    """A job and a cluster need no schedule; jobs by a schedule do."""
    words = ("schedule", "-c", write(tmp_path, schedule=False), "--as", form, *CLUSTER)
    code, out, err = corrigenda(*words)
    if form == "raycronjob":
        assert code == 1 and "has no schedule. Add [schedule]" in err
        code, out, err = corrigenda(*words[:2], write(tmp_path), *words[3:])
        assert "feature gate RayCronJob" in err
    assert code == 0 and f"kubectl apply -f corrigenda-mine.{form}.yaml" in err
    assert [*yaml.safe_load_all(out)][-1]["kind"].lower() == form


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--as", "cron"), "--as 'cron' is unknown (did you mean 'crontab'?)"),
        (("--as", "cronjob"), "--image is missing"),
        (("--as", "cronjob", "--image", "x"), "--claim is missing"),
        (("--as", "cronjob", *CLUSTER[:4]), "workspace = 'workspace' is not below /workspace"),
        (("--as", "rayjob", *CLUSTER, "--address", "http://h:1"), "--address goes with crontab"),
    ],
)
def test_what_is_missing(
    words: tuple[str, ...], said: str, corrigenda: Any, tmp_path: Path
) -> None:
    """One line with what to give."""
    code, out, err = corrigenda("schedule", "-c", write(tmp_path), *words)
    assert code == 1 and not out and said in err and err.count("\n") == 1


def test_a_secret_in_the_config_is_not_put_into_a_config_map(
    corrigenda: Any, tmp_path: Path
) -> None:
    """It is named by its setting, and not printed."""
    config = write(tmp_path)
    config.write_text(
        'line = "mine"\n[schedule]\ncron = "0 3 * * *"\n[[sources]]\nkind = "feed"\nname = "f"\n'
        'feeds = ["https://u:hunter2hunter2@x.org/f"]\nrelations = ["P6"]\n'
    )
    code, out, err = corrigenda("schedule", "-c", config, "--as", "cronjob", *CLUSTER)
    assert code == 1 and "a secret stands in `feeds` in full" in err
    assert "hunter2" not in out + err


def _errors(command: list[str]) -> list[str]:
    """What a check of units prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if "corrigenda-mine" in line]


def _containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The containers of a CronJob."""
    return manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
