# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine under everything a monitor may do to it, against a model of states, events and disks.

The guest keeps the first disk busy all the time; after each program it must still get its requests
through.
"""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.machines import drive, machine_config, names, progress, record_events
from vmm.machine import Machine
from vmm.requests import RequestKind

BUSY = "rw=mixed queues=2 iodepth=16 bs=4096 ms=3600000"
DISK = "driver=null,size=16M,latency-us=200,id=d0,num-queues=2"
PLACES = [None, "io0", "io1"]

steps = st.one_of(
    st.tuples(st.sampled_from(["stop", "cont", "reset", "turn", "powerdown"]), st.none()),
    st.tuples(st.just("move"), st.sampled_from(PLACES)),
    st.tuples(st.just("plug"), st.sampled_from(PLACES)),
    st.tuples(st.just("unplug"), st.none()),
)


class Model:
    """What must hold after each step, and the machine it is done to."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.state = "running"
        self.events = ["RESUME"]
        self.place: str | None = None
        self.plugged: dict[str, str | None] = {}
        self._made = 0

    async def step(self, what: str, argument: str | None) -> None:
        """Do it to both."""
        machine, control, hotplug = self.machine, self.machine.control, self.machine.hotplug
        if what == "stop":
            control.stop()
            if self.state == "running":
                self.state = "paused"
                self.events.append("STOP")
        elif what == "cont":
            control.cont()
            if self.state != "running":
                self.state = "running"
                self.events.append("RESUME")
        elif what == "reset":
            control.reset()
            self.state = "running" if self.state == "running" else "prelaunch"
            self.events.append("RESET")
        elif what == "powerdown":
            control.powerdown()
            self.events.append("POWERDOWN")
        elif what == "move":
            hotplug.set_iothread("d0", argument)
            self.place = argument
        elif what == "plug":
            self._plug(argument)
        elif what == "unplug" and self.plugged:
            name = next(iter(self.plugged))
            del self.plugged[name]
            hotplug.device_del(name)
            hotplug.blockdev_del(f"node-{name}")
            self.events.append("DEVICE_DELETED")
        else:
            await asyncio.sleep(0)
        self.check(machine)

    def _plug(self, place: str | None) -> None:
        if len(self.plugged) == 7:
            return
        name = f"vd{self._made}"
        self._made += 1
        self.plugged[name] = place
        self.machine.hotplug.blockdev_add({"driver": "null-co", "node-name": f"node-{name}"})
        props = {"drive": f"node-{name}"} | ({"iothread": place} if place else {})
        self.machine.hotplug.device_add("virtio-blk-device", name, props)

    def check(self, machine: Machine) -> None:
        """Compare."""
        assert machine.control.state.value == self.state
        placed = {"disk0": self.place, **self.plugged}
        assert [disk.id for disk in machine.disks] == list(placed)
        assert len({disk.slot for disk in machine.disks}) == len(placed)
        for name, place in placed.items():
            link = machine.qom.resolve(f"/machine/peripheral/{name}").get("iothread")
            assert link == (f"/objects/{place}" if place else "")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(program=st.lists(steps, max_size=25))
def test_a_machine_agrees_with_its_model(program: list[tuple[str, str | None]]) -> None:
    with Machine(machine_config(DISK, guest=BUSY)) as machine:
        events = record_events(machine)
        model = Model(machine)

        async def act() -> None:
            for what, argument in program:
                await model.step(what, argument)
            await model.step("cont", None)
            await progress(machine, 20)
            machine.control.quit()

        request = drive(machine, act)
    assert request.kind is RequestKind.SHUTDOWN
    assert names(events) == [*model.events, "SHUTDOWN"]
