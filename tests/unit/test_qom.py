# SPDX-License-Identifier: GPL-2.0-or-later
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm.devices.virtio_blk import VirtioBlkDevice
from vmm.errors import DeviceNotFoundError, VmmError
from vmm.iothread import IoThread
from vmm.qom import (
    Device,
    Link,
    Property,
    PropertyError,
    PropertyInfo,
    QomObject,
    QomTree,
    TypeInfo,
    TypeRegistry,
    host_cpu,
    parse_bool,
)
from vmm.qom.tree import CONTAINERS


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
    with pytest.raises(PropertyError, match=r"'car.wheels' not found \(known: engine, name"):
        Car("a").set("wheels", 4)
    with pytest.raises(PropertyError, match=r"did you mean 'radio-on'\?"):
        Car("a").get("radio-onn")
    with pytest.raises(PropertyError):
        Car("a").get("top_speed")  # an attribute's name is not a property's


@pytest.mark.parametrize(("name", "value"), [("top-speed", "fast"), ("radio-on", "loud")])
def test_a_value_of_the_wrong_type_is_refused_and_the_old_one_stays(name: str, value: str) -> None:
    car = Car("a")
    before = car.get(name)
    with pytest.raises(PropertyError, match=rf"property '{name}' of car \((int|bool)\): "):
        car.set(name, value)
    with pytest.raises(PropertyError, match=rf"property '{name}' of car \((int|bool)\): "):
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
    assert names == ["type", "top-speed", "radio-on", "name", "engine", "spoiler"]
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
    with pytest.raises(ValueError, match="is not a CPU number below 1024"):
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
    assert tree.resolve("//machine/peripheral/a/") is car  # as QEMU: empty components are skipped
    for path in ("/machine/b", "/a", "/machine/peripheral/a/b", ""):
        with pytest.raises(DeviceNotFoundError, match=f"Device '{path}' not found"):
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


def rows(tree: QomTree, path: str) -> dict[str, str]:
    return {row.name: row.type for row in tree.list(path)}


def test_listing_shows_children_containers_and_typed_properties() -> None:
    tree = QomTree()
    tree.add("/machine/peripheral/a", Car("a"))
    tree.add("/machine/lone", Engine("lone"))
    assert rows(tree, "/machine") == {
        "lone": "child<engine>",
        "peripheral": "child<container>",
        "unattached": "child<container>",
        "type": "string",
    }
    assert rows(tree, "/machine/peripheral/a") == {
        "type": "string",
        "top-speed": "int",
        "radio-on": "bool",
        "name": "string",
        "engine": "link<engine>",
    }
    assert tree.list("a")[1] == PropertyInfo("top-speed", "int", "km/h")
    with pytest.raises(VmmError, match="Device '/boats' not found"):
        tree.list("/boats")


def test_the_containers_of_qemu_are_there_in_an_empty_tree() -> None:
    tree = QomTree()
    assert rows(tree, "/") == {
        "machine": "child<container>",
        "objects": "child<container>",
        "type": "string",
    }
    for path in CONTAINERS:
        assert tree.resolve(path).get("type") == "container"
    assert list(tree) == []


def test_an_object_may_take_the_place_of_a_container_and_gives_it_back() -> None:
    tree, car = QomTree(), Car("machine")
    tree.add("/machine", car)
    tree.add("/machine/peripheral/a", Engine("a"))
    assert rows(tree, "/machine")["peripheral"] == "child<container>"
    tree.remove("/machine")
    assert tree.resolve("/machine").get("type") == "container"
    assert tree.resolve("a").id == "a"


def test_the_end_of_a_path_is_enough_if_only_one_object_has_it() -> None:
    tree, car = QomTree(), Car("a")
    tree.add("/machine/peripheral/a", car)
    for path in ("a", "peripheral/a", "machine/peripheral/a", "a/"):
        assert tree.resolve(path) is car
    tree.add("/objects/a", Engine("a"))
    with pytest.raises(VmmError, match="Path 'a' is ambiguous"):
        tree.resolve("a")
    assert tree.resolve("a", "car") is car
    assert tree.resolve("objects/a").implements("engine")


def test_a_path_follows_links() -> None:
    tree, car, engine = QomTree(), Car("a"), Engine("v8")
    tree.add("/machine/a", car)
    tree.add("/objects/v8", engine)
    with pytest.raises(DeviceNotFoundError):
        tree.resolve("/machine/a/engine")
    car.engine = engine
    assert tree.resolve("/machine/a/engine") is engine
    tree.remove("/objects/v8")
    with pytest.raises(DeviceNotFoundError):
        tree.resolve("/machine/a/engine")


@pytest.mark.parametrize("text", ["v8", "/objects/v8", "objects/v8"])
def test_a_link_is_set_by_path_or_id(text: str) -> None:
    tree, car, engine = QomTree(), FastCar("a"), Engine("v8")
    tree.add("/machine/a", car)
    tree.add("/objects/v8", engine)
    tree.add("/machine/v8", Car("v8"))  # of another type: no rival
    car.set("engine", text)
    assert (car.engine, car.get("engine")) == (engine, "/objects/v8")
    car.set("engine", "")
    assert car.get("engine") == ""
    with pytest.raises(
        PropertyError, match=r"\(link<engine>\): Device 'v9' not found \(known: v8\)"
    ):
        car.set("engine", "v9")


def test_a_property_that_is_computed_cannot_be_set() -> None:
    car = Car("a")
    assert car.get("type") == "car"
    with pytest.raises(PropertyError, match=r"Property 'car\.type' is not writable"):
        car.set("type", "boat")


def test_types_are_listed_with_their_parents() -> None:
    types = TypeRegistry((FastCar, Engine, Device))
    assert [info.name for info in types.list()] == ["car", "engine", "fast-car"]
    assert types.list("car") == [
        TypeInfo("car", "object", abstract=False),
        TypeInfo("fast-car", "car", abstract=False),
    ]
    assert TypeInfo("object", "", abstract=True) in types.list(abstract=True)
    assert types.list("boat") == []
    with pytest.raises(VmmError, match=r"no type 'fast-cra' \(did you mean 'fast-car'\?\)"):
        types.get("fast-cra")


NAMES = st.sampled_from(["a", "b", "ab", "a1"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(PATHS, max_size=12, unique=True), PATHS)
def test_the_end_of_a_path_finds_what_a_search_of_all_paths_finds(
    paths: list[str], path: str
) -> None:
    tree, objects = QomTree(), {}
    for each in paths:
        objects[each] = Engine(each.rsplit("/", 1)[-1])
        tree.add(each, objects[each])
    fitting = [obj for each, obj in objects.items() if each.endswith(path)]
    if len(fitting) == 1:
        assert tree.resolve(path[1:], "engine") is fitting[0]
    else:
        with pytest.raises(VmmError, match="is ambiguous" if fitting else "not found"):
            tree.resolve(path[1:], "engine")


@given(st.lists(PATHS, max_size=12, unique=True))
def test_every_object_is_reached_from_the_root_by_listing(paths: list[str]) -> None:
    tree = QomTree()
    for path in paths:
        tree.add(path, Engine(path.rsplit("/", 1)[-1]))
    found, todo = set(), ["/"]
    while todo:
        path = todo.pop()
        for row in tree.list(path):
            if row.name == "type":
                continue
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
