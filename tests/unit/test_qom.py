# SPDX-License-Identifier: GPL-2.0-or-later
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm.devices.virtio_blk import VirtioBlkDevice
from vmm.errors import VmmError
from vmm.iothread import IoThread
from vmm.qom import (
    Link,
    Property,
    PropertyError,
    PropertyInfo,
    QomObject,
    QomTree,
    host_cpu,
    parse_bool,
)


class Engine(QomObject):
    TYPE = "engine"


class Car(QomObject):
    TYPE = "car"
    top_speed = Property(int, 90, "km/h")
    radio_on = Property(parse_bool, False, "radio", live=True)
    name = Property(str, "", "what it is called")
    engine = Link("engine", "what drives it")

    def __init__(self, object_id: str) -> None:
        super().__init__(object_id)
        self.changes: list[str] = []

    def property_changed(self, name: str) -> None:
        self.changes.append(name)


class FastCar(Car):
    TYPE = "fast-car"
    spoiler = Property(parse_bool, True, "spoiler")


def test_properties_are_read_and_written_by_their_dashed_names() -> None:
    car = Car("a")
    assert (car.get("top-speed"), car.get("radio-on"), car.get("name")) == (90, False, "")
    car.set("top-speed", "180")
    assert (car.top_speed, car.get("top-speed")) == (180, 180)


def test_two_objects_of_a_class_keep_their_values_apart() -> None:
    one, other = Car("a"), Car("b")
    one.top_speed = 1
    assert other.top_speed == 90


def test_an_unknown_property_names_those_that_exist() -> None:
    with pytest.raises(PropertyError, match=r"car has no property 'wheels' \(it has: engine, name"):
        Car("a").set("wheels", 4)
    with pytest.raises(PropertyError, match="it has: none"):
        Engine("e").get("wheels")
    with pytest.raises(PropertyError):
        Car("a").get("top_speed")  # an attribute's name is not a property's


@pytest.mark.parametrize(("name", "value"), [("top-speed", "fast"), ("radio-on", "loud")])
def test_a_value_of_the_wrong_type_is_refused_and_the_old_one_stays(name: str, value: str) -> None:
    car = Car("a")
    before = car.get(name)
    with pytest.raises(PropertyError, match=f"property '{name}' of car: "):
        car.set(name, value)
    with pytest.raises(PropertyError, match=f"property '{name}' of car: "):
        car.set(name, [value])
    assert car.get(name) == before


def test_only_live_properties_change_once_realized_and_the_object_is_told() -> None:
    car = Car("a")
    car.top_speed = 100
    car.realized = True
    with pytest.raises(PropertyError, match="cannot change once realized"):
        car.set("top-speed", 50)
    car.set("radio-on", "on")
    assert (car.top_speed, car.radio_on, car.changes) == (100, True, ["radio-on"])


def test_a_subclass_has_the_properties_of_its_base_first() -> None:
    names = list(FastCar.properties())
    assert names == ["top-speed", "radio-on", "name", "engine", "spoiler"]
    assert "spoiler" not in Car.properties()


@pytest.mark.parametrize(
    ("text", "value"),
    [("on", True), ("YES", True), ("true", True), (True, True), ("off", False), ("No", False)],
)
def test_switches_are_understood_in_all_spellings(text: object, value: bool) -> None:
    assert parse_bool(text) is value


@pytest.mark.parametrize("text", ["", "1", "o n", None, 0])
def test_anything_else_is_no_switch(text: object) -> None:
    with pytest.raises(ValueError, match="on or off"):
        parse_bool(text)


@pytest.mark.parametrize("value", ["-2", "1024", "x", "", None, 1 << 70])
def test_an_impossible_host_cpu_is_refused(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - int()'s own words are part of it
        host_cpu(value)


def test_a_link_takes_an_object_of_its_type_and_shows_its_path() -> None:
    tree, car, engine = QomTree(), Car("a"), Engine("v8")
    assert car.get("engine") == ""
    car.set("engine", engine)
    assert car.get("engine") == ""  # not in the tree yet
    tree.add("/objects/v8", engine)
    assert car.get("engine") == "/objects/v8"
    assert car.engine is engine
    car.set("engine", None)
    assert car.get("engine") == ""


@pytest.mark.parametrize("target", [Car("b"), "v8", 7])
def test_a_link_refuses_everything_else(target: object) -> None:
    car = Car("a")
    with pytest.raises(PropertyError, match="expects an object of type engine"):
        car.set("engine", target)


def test_the_tree_resolves_absolute_paths() -> None:
    tree, car = QomTree(), Car("a")
    tree.add("/machine/peripheral/a", car)
    assert tree.resolve("/machine/peripheral/a") is car
    for path in ("/machine/peripheral", "/machine/peripheral/a/", "a", ""):
        with pytest.raises(VmmError, match=f"no object at '{path}'"):
            tree.resolve(path)


def test_a_path_can_be_taken_once() -> None:
    tree = QomTree()
    tree.add("/objects/a", Car("a"))
    with pytest.raises(VmmError, match="duplicate ID 'a' at /objects/a"):
        tree.add("/objects/a", Engine("a"))


def test_a_removed_object_has_no_path_and_its_place_is_free() -> None:
    tree, car = QomTree(), Car("a")
    tree.add("/objects/a", car)
    tree.remove("/objects/a")
    assert car.path == ""
    tree.add("/objects/a", Engine("a"))
    assert list(tree) != [car]


def test_find_goes_by_id_and_type_and_lists_what_there_is() -> None:
    tree, engine = QomTree(), Engine("x")
    tree.add("/objects/x", engine)
    tree.add("/machine/x", Car("x"))
    assert tree.find("x", "engine") is engine
    with pytest.raises(VmmError, match=r"no engine object with id 'y' \(known: x\)"):
        tree.find("y", "engine")
    with pytest.raises(VmmError, match="known: none is defined"):
        tree.find("x", "boat")


def test_listing_shows_children_containers_and_typed_properties() -> None:
    tree = QomTree()
    tree.add("/machine/peripheral/a", Car("a"))
    tree.add("/machine/lone", Engine("lone"))
    assert tree.list("/") == [PropertyInfo("machine", "child<container>")]
    assert tree.list("/machine") == [
        PropertyInfo("lone", "child<engine>"),
        PropertyInfo("peripheral", "child<container>"),
    ]
    assert tree.list("/machine/peripheral/a") == [
        PropertyInfo("top-speed", "int"),
        PropertyInfo("radio-on", "bool"),
        PropertyInfo("name", "string"),
        PropertyInfo("engine", "link<engine>"),
    ]
    with pytest.raises(VmmError, match="no object at '/boats'"):
        tree.list("/boats")


def test_an_empty_tree_lists_nothing_at_its_root() -> None:
    assert QomTree().list("/") == []


NAMES = st.sampled_from(["a", "b", "ab", "a1"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(PATHS, max_size=12, unique=True))
def test_every_object_is_reached_from_the_root_by_listing(paths: list[str]) -> None:
    tree = QomTree()
    for path in paths:
        tree.add(path, Engine(path.rsplit("/", 1)[-1]))
    found, todo = set(), ["/"]
    while todo:
        path = todo.pop()
        for row in tree.list(path):
            assert row.type in {"child<engine>", "child<container>"}
            child = f"{path.rstrip('/')}/{row.name}"
            todo.append(child)
            if row.type == "child<engine>":
                found.add(child)
    assert found == set(paths)


def test_a_disk_has_the_link_and_the_bootindex_that_users_know() -> None:
    properties = VirtioBlkDevice.properties()
    assert isinstance(properties["iothread"], Link)
    assert properties["bootindex"].default == -1
    disk, iothread = VirtioBlkDevice("disk0", 0), IoThread("io0")
    disk.set("iothread", iothread)
    assert disk.iothread is iothread


@pytest.mark.parametrize("object_id", ["", "x" * 13, "é" * 7])
def test_an_iothread_id_must_fit_into_a_thread_name(object_id: str) -> None:
    with pytest.raises(VmmError, match="1 to 12 bytes"):
        IoThread(object_id)


@pytest.mark.parametrize("value", ["-1", "x", str(1 << 63)])
def test_poll_times_must_be_natural_numbers(value: str) -> None:
    with pytest.raises(PropertyError, match="poll-max-ns"):
        IoThread("io0").set("poll-max-ns", value)
