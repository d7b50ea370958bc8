"""Arrays out of Python's old object files, without running anything that such a file names.

FLAME is published as such a file, and loading one the usual way lets it call any function of the machine. This reader
interprets the opcodes itself: it knows numbers, strings, lists, dicts, NumPy arrays, SciPy's sparse matrices and (by
their data alone) chumpy's wrappers. A name of anything else is an error before anything is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pickletools import genops
from typing import Any

import numpy as np

MAX_ITEMS = 50_000_000
COPIES, ALLOWANCE = 8, 1 << 20
"""What the stream has made may be this many times as large as the stream, and a little more: few bytes can ask for
copies of copies."""


class Refused(Exception):
    """The stream names something that is no array; the message is that name."""


class Damaged(Exception):
    """The stream is cut off or no such stream."""


@dataclass(frozen=True)
class Name:
    """A global that the stream mentions: its module and name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Holder:
    """An object of an allowed class: nothing but its attributes.

    Attributes
    ----------
    kind : the class as the stream names it
    state : what the stream says about it
    """

    kind: Name
    state: Any = field(default_factory=dict)


_MARK = object()
_HOLDERS = re.compile(r"^(chumpy(\.\w+)*|scipy\.sparse(\.\w+)*)$")
_NUMPY = re.compile(r"^numpy(\.core|\._core)?(\.multiarray|\.numeric)?$")
_PLAIN = {"object", "set", "frozenset", "list", "dict", "tuple", "bytearray", "bytes", "int", "float", "long", "str"}
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_KINDS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


def check(name: Name) -> Name:
    """`name` if it is one of the few that only carry data; else `Refused`."""
    module, short = name.module, name.name
    allowed = (
        (_NUMPY.match(module) and short in ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"))
        or (_HOLDERS.match(module) and re.match(r"^[A-Z]\w*$|^c\w+_(matrix|array)$", short))
        or (module in ("builtins", "__builtin__") and short in _PLAIN)
        or (module in ("copyreg", "copy_reg") and short in ("_reconstructor", "__newobj__"))
        or (module == "_codecs" and short == "encode")
        or (module == "collections" and short == "OrderedDict")
    )
    if not allowed:
        raise Refused(str(name))
    return name


def read(content: bytes) -> Any:
    """What the stream `content` holds; raises `Refused` or `Damaged`."""
    machine = _Machine(COPIES * len(content) + ALLOWANCE)
    try:
        for opcode, argument, _ in genops(content):
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.step(opcode.name, argument)
    except (Refused, Damaged):
        raise
    except (KeyError, AttributeError) as error:
        raise Damaged("it is no such stream") from error
    except (ValueError, IndexError, TypeError, UnicodeError, RecursionError, MemoryError) as error:
        raise Damaged(str(error) or "it is too large") from error
    raise Damaged("it ends early")


class _Machine:
    """Stack and memo; every opcode is either plain data or refused."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.plain: dict[str, Callable[[], Any]] = {
            "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set, "MARK": lambda: _MARK,
            "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
            "TUPLE": lambda: tuple(self.marked()), "LIST": lambda: list(self.marked()),
            "FROZENSET": lambda: frozenset(self.marked()), "DICT": lambda: _pairs({}, self.marked()),
            "TUPLE1": lambda: self.last(1), "TUPLE2": lambda: self.last(2), "TUPLE3": lambda: self.last(3),
            "STACK_GLOBAL": lambda: check(Name(*map(str, self.last(2)))),
            "REDUCE": self.reduce, "NEWOBJ": self.reduce, "BUILD": self.build, "DUP": lambda: self.stack[-1],
        }  # fmt: skip
        self.changes: dict[str, Callable[[], Any]] = {
            "POP": self.stack.pop, "POP_MARK": self.marked, "MEMOIZE": lambda: self.put(len(self.memo)),
            "APPEND": lambda: self.extend(self.last(1)), "APPENDS": lambda: self.extend(self.marked()),
            "ADDITEMS": lambda: self.extend(self.marked()), "SETITEM": lambda: self.update(self.last(2)),
            "SETITEMS": lambda: self.update(self.marked()), "PROTO": lambda: None, "FRAME": lambda: None,
        }  # fmt: skip

    def step(self, name: str, argument: Any) -> None:
        """Do one opcode."""
        if name in self.changes:
            self.changes[name]()
        elif name in self.plain:
            self.stack.append(self.plain[name]())
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[int(argument)])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.put(int(argument))
        elif name in _LITERALS:
            self.stack.append(argument)
        elif name in ("GLOBAL", "INST"):
            self.stack.append(check(Name(*str(argument).split(" ", 1))))
        else:
            raise Refused(f"the opcode {name}")
        if len(self.stack) > MAX_ITEMS:
            raise Damaged("it is too large")

    def put(self, index: int) -> None:
        """Remember what lies on top."""
        self.memo[index] = self.stack[-1]

    def last(self, count: int) -> tuple:
        """Take the topmost `count` values."""
        taken = tuple(self.stack[-count:])
        if len(taken) != count or any(item is _MARK for item in taken):
            raise Damaged("its stack is wrong")
        del self.stack[-count:]
        return taken

    def marked(self) -> list:
        """Take everything above the topmost mark, and the mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                taken = self.stack[place + 1 :]
                del self.stack[place:]
                return taken
        raise Damaged("its stack is wrong")

    def extend(self, items: Any) -> None:
        """Add `items` to the list or set on top."""
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(items)
        else:
            raise Damaged("its lists are wrong")

    def update(self, items: Any) -> None:
        """Add key–value `items` to the dict on top."""
        if not isinstance(self.stack[-1], dict):
            raise Damaged("its dicts are wrong")
        _pairs(self.stack[-1], items)

    def reduce(self) -> Any:
        """What a call of an allowed name with the arguments on top would make, made by this module."""
        function, arguments = self.last(2)
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise Refused("a call of something that it built itself")
        made = _made(function, arguments)
        self.budget -= len(made) if isinstance(made, (str, bytes, list, tuple, dict, set, frozenset)) else 0
        if self.budget < 0:
            raise Damaged("it asks for far more than it holds")
        return made

    def build(self) -> Any:
        """Give the object on top the state above it."""
        target, state = self.last(2)
        if isinstance(target, Holder):
            if target.kind.name == "ndarray":
                return _array_into(target, state)
            if target.kind.name == "dtype":
                target.state = (target.state[0], state[1])
                return target
            target.state = state[0] if isinstance(state, tuple) and state and isinstance(state[0], dict) else state
            return target
        raise Refused(f"a state for {type(target).__name__}")


def _pairs(target: dict, items: Any) -> dict:
    target.update(zip(items[::2], items[1::2], strict=True))
    return target


def _made(function: Name, arguments: tuple) -> Any:
    short = function.name
    if _NUMPY.match(function.module):
        return _numpy(function, arguments)
    if short in ("_reconstructor", "__newobj__"):
        if not arguments or not isinstance(arguments[0], Name):
            raise Refused("an object of no class")
        return _made(arguments[0], ())
    if short == "encode":
        return _bytes(arguments[0])
    if short == "OrderedDict" or short == "dict":
        return dict(arguments[0]) if arguments else {}
    makers: dict[str, Callable] = {"set": set, "frozenset": frozenset, "list": list, "tuple": tuple, "int": int,
                                   "long": int, "float": float, "str": str, "bytes": _bytes,
                                   "bytearray": _bytes}  # fmt: skip
    if short in makers and function.module in ("builtins", "__builtin__"):
        return makers[short](*arguments[:1])
    return Holder(function)


def _bytes(value: Any = b"") -> bytes:
    # Python 2's strings come as text whose characters are the bytes.
    if isinstance(value, str):
        return value.encode("latin-1")
    if not isinstance(value, (bytes, bytearray, list, tuple)):
        # A number would ask for that many zeros.
        raise Damaged("its bytes are wrong")
    return bytes(value)


def _numpy(function: Name, arguments: tuple) -> Any:
    if function.name == "dtype":
        return Holder(Name("numpy", "dtype"), (str(arguments[0]), "<"))
    if function.name == "scalar":
        return np.frombuffer(_bytes(arguments[1]), _dtype(arguments[0]))[0]
    if function.name == "_frombuffer":
        content, kind, shape, order = arguments
        return np.frombuffer(_bytes(content), _dtype(kind)).reshape(shape, order=order)
    return Holder(Name("numpy", "ndarray"))


def _array_into(target: Holder, state: Any) -> Holder:
    """`target` with the array of NumPy's state (version, shape, dtype, Fortran order, bytes)."""
    _, shape, kind, fortran, content = state
    if isinstance(content, list):
        raise Refused("an array of objects")
    flat = np.frombuffer(_bytes(content), _dtype(kind))
    # The holder stays the same object: other parts of the stream may already refer to it.
    target.state = flat.reshape(tuple(int(size) for size in shape), order="F" if fortran else "C")
    return target


def _dtype(kind: Any) -> np.dtype:
    if not isinstance(kind, Holder) or kind.kind.name != "dtype":
        raise Damaged("an array has no type")
    code, order = kind.state
    if code.lstrip("<>|=") not in _KINDS:
        raise Refused(f"an array of type {code}")
    return np.dtype(code.lstrip("<>|=")).newbyteorder(order if order in "<>" else "=")


def array(value: Any) -> np.ndarray:
    """The array in `value`: NumPy's, chumpy's (its ``x``, or a selection of another) or a list of numbers."""
    if isinstance(value, Holder):
        if value.kind.name == "ndarray":
            return np.asarray(value.state)
        if value.kind.module.startswith("scipy"):
            return sparse(value)
        state = value.state if isinstance(value.state, dict) else {}
        if "x" in state:
            return array(state["x"])
        if "a" in state and "idxs" in state:
            return array(state["a"]).ravel()[array(state["idxs"])].reshape(_selected_shape(state))
        raise Damaged(f"{value.kind} holds no array")
    return np.asarray(value)


def _selected_shape(state: dict) -> tuple[int, ...]:
    shape = state.get("preferred_shape", state.get("_preferred_shape"))
    return tuple(int(size) for size in array(shape).ravel()) if shape is not None else (-1,)


def sparse(value: Holder) -> np.ndarray:
    """The dense array of a SciPy matrix in compressed columns or rows."""
    state = value.state
    data, indices, pointer = (array(state[key]) for key in ("data", "indices", "indptr"))
    shape = state.get("_shape", state.get("shape"))
    rows, columns = (int(size) for size in shape)
    if not 0 <= rows * columns <= MAX_ITEMS:
        raise Damaged(f"a matrix of {rows} × {columns}")
    out = np.zeros((rows, columns))
    line = np.repeat(np.arange(len(pointer) - 1), np.diff(pointer))
    if value.kind.name.startswith("csc"):
        np.add.at(out, (indices, line), data)
    else:
        np.add.at(out, (line, indices), data)
    return out
