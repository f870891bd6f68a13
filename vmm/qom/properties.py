# SPDX-License-Identifier: GPL-2.0-or-later
"""Properties of objects, declared once as descriptors of their class."""

import difflib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from vmm.errors import KeyedError, VmmError
from vmm.qom.types import ValueType, qapi_name, shown

if TYPE_CHECKING:
    from vmm.qom.object import QomObject

T = TypeVar("T")


class PropertyError(KeyedError):
    """Unknown property, wrong type, or one that cannot change any more; ``key`` is its name."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """How to go on after an unknown word: the nearest known one, else all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}"


class Property(Generic[T]):
    """A typed property of a QomObject.

    Args:
        convert: a value type, or a function that converts and raises ValueError with a reason.
        default: value before anybody sets it.
        doc: one line of help.
        live: may be set after the object is realized (its ``property_changed`` hook is called).
        name: where the dashed form of the attribute's name is not the property's.
    """

    def __init__(
        self,
        convert: ValueType[T] | Callable[[Any], T],
        default: T,
        doc: str,
        *,
        live: bool = False,
        name: str = "",
    ) -> None:
        self.convert = convert
        self.default = default
        self.doc = doc
        self.live = live
        self.name = name
        self.type_name = qapi_name(convert, default)
        """As ``qom-list`` gives it: ``int``, ``size``, ``link<iothread>``."""

    read_only = False

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.name = self.name or attribute.replace("_", "-")

    @overload
    def __get__(self, obj: None, owner: type) -> Self: ...
    @overload
    def __get__(self, obj: "QomObject", owner: type) -> T: ...
    def __get__(self, obj: "QomObject | None", owner: type) -> "Self | T":
        if obj is None:
            return self
        return self.value(obj)

    def value(self, obj: "QomObject") -> T:
        """The property's value in ``obj``."""
        value: T = obj._values.get(self.name, self.default)
        return value

    def json(self, obj: "QomObject") -> object:
        """The value as a monitor shows it."""
        value = self.value(obj)
        to_json = getattr(self.convert, "json", None)
        return to_json(value) if to_json is not None else value

    def checked(self, obj: "QomObject", value: object) -> T:
        """``value`` converted for ``obj``; nothing is set.

        Raises:
            PropertyError: it is none of this type.
        """
        try:
            return self.convert(value)
        except (ValueError, TypeError) as error:
            raise self.wrong(obj.TYPE, value, error) from None

    def wrong(self, owner: str, value: object, error: Exception) -> PropertyError:
        """The error for a bad value: property, type, value and what it must be."""
        where = f"property '{self.name}' of {owner} ({self.type_name})"
        return PropertyError(f"{where}: '{shown(value)}': {error}", self.name)

    def __set__(self, obj: "QomObject", value: Any) -> None:
        if obj.realized and not self.live:
            text = f"property '{self.name}' of {obj.TYPE} cannot change once realized"
            raise PropertyError(text, self.name)
        converted, before = self.checked(obj, value), self.value(obj)
        obj._values[self.name] = converted
        if obj.realized:
            try:
                obj.property_changed(self.name)
            except BaseException:
                obj._values[self.name] = before  # it could not be applied
                raise


class ReadOnly(Property[T]):
    """A property that an object computes.

    Args:
        type_name: QAPI's name of the type.
        getter: gives the value of an object; a JSON value.
        doc: one line of help.
    """

    read_only = True

    def __init__(
        self, type_name: str, getter: Callable[[Any], T], doc: str, *, name: str = ""
    ) -> None:
        super().__init__(_no_value, None, doc, name=name)  # type: ignore[arg-type]
        self.type_name = type_name
        self._getter = getter

    def value(self, obj: "QomObject") -> T:
        """Compute it."""
        return self._getter(obj)

    def __set__(self, obj: "QomObject", value: Any) -> None:
        raise PropertyError(f"Property '{obj.TYPE}.{self.name}' is not writable", self.name)


def _no_value(_value: Any) -> Any:
    raise ValueError("must not be set: it is read only")


class Link(Property["QomObject | None"]):
    """A property that names another object, of a given QOM type or one derived from it.

    It is set with the object, or with a path or an id: any path that :meth:`QomTree.resolve`
    takes. The empty string and None unset it.
    """

    def __init__(self, target_type: str, doc: str, *, live: bool = False, name: str = "") -> None:
        super().__init__(self._check_target, None, doc, live=live, name=name)
        self.target_type = target_type
        self.type_name = f"link<{target_type}>"

    def json(self, obj: "QomObject") -> object:
        """The target's path, empty if there is none."""
        target = self.value(obj)
        return target.path if target is not None else ""

    def checked(self, obj: "QomObject", value: object) -> "QomObject | None":
        """The target of ``value``.

        Raises:
            PropertyError: nothing of that path, several, or an object of another type.
        """
        if isinstance(value, str) and value and obj.tree is not None:
            try:
                value = obj.tree.resolve(value, self.target_type)
            except VmmError as error:
                known = ", ".join(obj.tree.ids(self.target_type)) or "none is defined"
                text = f"property '{self.name}' of {obj.TYPE} ({self.type_name}): {error}"
                raise PropertyError(f"{text} (known: {known})", self.name) from None
        return super().checked(obj, None if value == "" else value)

    def _check_target(self, value: Any) -> "QomObject | None":
        if value is None or getattr(value, "implements", _never)(self.target_type):
            target: QomObject | None = value
            return target
        raise ValueError(f"expects an object of type {self.target_type}")


def _never(_type_name: str) -> bool:
    return False
