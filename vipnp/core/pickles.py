"""Pickles worked out without calling anything that they name.

The standard unpickler calls what a file tells it to call. With a list of allowed names it still sizes its memo by a
number in the file and hashes whatever stands as a key, so a few bytes can fill the memory or the time. Here the
standard library takes the operations apart (`pickletools.genops`) and `carried_out` does those that data need. A name
stays a name, and what is called is a function of the reader's own.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that the pickle names."""

    text: str


def nothing_outside(identity: Any) -> Any:
    """Of pickles that are whole by themselves. Raises ValueError."""
    raise ValueError("refers to something outside of the pickle")


@dataclass(frozen=True)
class Language:
    """What pickles of one kind may say.

    Attributes
    ----------
    kind : what they describe, in the plural, for errors. calls : functions that stand for those that they call, by
    name. names : what else they may name. build : takes a value and the state that is set on it. refer : from what
    identifies something outside of the pickle to a value. hint : what the error about another name ends with.
    """

    kind: str
    calls: Mapping[str, Callable[..., Any]]
    names: Collection[str]
    build: Callable[[Any, Any], None]
    refer: Callable[[Any], Any] = nothing_outside
    hint: str = ""

    def known(self, text: str) -> Name:
        """A name that may stand in the pickle. Raises ValueError for another."""
        if text in self.calls or text in self.names:
            return Name(text)
        raise ValueError(f"asks for {text[:100]!r}, which is no part of {self.kind} and is not run{self.hint}")

    def called(self, function: Any, arguments: Any) -> Any:
        """What a call gives. Raises ValueError for one that these pickles do not make."""
        name = expect(function, Name).text
        if name not in self.calls:
            raise ValueError(f"calls {name}, which no {self.kind} do")
        return self.calls[name](*expect(arguments, tuple))


def carried_out(stream: IO[bytes], most_operations: int, language: Language) -> Any:
    """What the next pickle in `stream` describes: None, numbers, strings, lists, tuples, dicts, and what the functions
    of `language` return.

    Raises ValueError naming what it asks for that is not in `language`, or saying that it is no whole pickle, as the
    rest of a sentence that begins with the name of the file.
    """
    try:
        return _carried_out(stream, most_operations, language)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"holds a damaged pickle ({type(error).__name__} while reading it)") from error


def _carried_out(stream: IO[bytes], most_operations: int, language: Language) -> Any:
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for count, (operation, value, _) in enumerate(_operations(stream)):
        if count == most_operations:
            raise ValueError(f"holds a pickle of more than {most_operations} operations, too many for its size")
        match operation.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case name if name in VALUES:
                stack.append(value)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE" as name:
                stack.append(name == "NEWTRUE")
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                length = int(name[-1])
                stack[-length:] = [tuple(stack[-length:])]
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "EMPTY_LIST":
                stack.append([])
            case "APPEND":
                item = stack.pop()
                expect(stack[-1], list).append(item)
            case "APPENDS":
                items = since_mark()
                expect(stack[-1], list).extend(items)
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM":
                item, key = stack.pop(), stack.pop()
                _filled(stack[-1], [key, item])
            case "SETITEMS":
                items = since_mark()
                _filled(stack[-1], items)
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "GLOBAL":
                stack.append(language.known(value.replace(" ", ".")))
            case "STACK_GLOBAL":
                last, module = stack.pop(), stack.pop()
                stack.append(language.known(f"{expect(module, str)}.{expect(last, str)}"))
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(language.called(function, arguments))
            case "BUILD":
                state = stack.pop()
                language.build(stack[-1], state)
            case "BINPERSID":
                stack.append(language.refer(stack.pop()))
            case other:
                raise ValueError(f"holds a pickle with the operation {other}, which no {language.kind} need")
    raise ValueError("holds a pickle without an end")


def _operations(stream: IO[bytes]) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    try:
        yield from pickletools.genops(stream)
    except ValueError as error:
        raise ValueError(f"holds a damaged pickle ({str(error)[:100]!r})") from error


VALUES = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINBYTES", "SHORT_BINBYTES"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    }
)
"""Operations whose argument is the value itself."""


def expect(value: Any, kind: type) -> Any:
    """`value`, which is of this very type. Raises ValueError where it is not."""
    if type(value) is not kind:
        raise ValueError(f"holds a pickle that has a {type(value).__name__} where a {kind.__name__.lower()} should be")
    return value


def _filled(target: Any, items: list[Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = expect(target, dict)
    for key, item in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, int):  # to hash a nest of tuples can take forever
            raise ValueError(f"holds a mapping with a key of type {type(key).__name__}, expected names or numbers")
        found[key] = item
    return found
