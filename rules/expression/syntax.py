"""From text to a syntax tree: a tokenizer and a recursive-descent parser, both by hand."""

from __future__ import annotations

from dataclasses import dataclass

MAX_NODES = 200
MAX_DEPTH = 8
MAX_LENGTH = 4_000
_MAX_NESTING = 24
_MAX_DIGITS = 18

_SYMBOLS = ("==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "(", ")", "[", "]", ",")
_COMPARISONS = frozenset({"==", "!=", "<=", ">=", "<", ">"})
_WORDS = frozenset({"and", "or", "not", "in", "true", "false"})


class ExpressionError(Exception):
    """An expression that cannot be used; ``offset`` counts characters from its start."""

    def __init__(self, message: str, offset: int, remedy: str = "") -> None:
        self.message = message
        self.offset = offset
        self.remedy = remedy
        super().__init__(message + (f"; {remedy}" if remedy else ""))


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text or a truth value."""

    offset: int
    value: float | str | bool


@dataclass(frozen=True, slots=True)
class Name:
    """A field or another known value, by its dotted path."""

    offset: int
    path: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list of literals, the right side of ``in``."""

    offset: int
    items: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator with its operands: ``and``/``or`` take two or more, ``not``/``neg`` one."""

    offset: int
    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the named functions."""

    offset: int
    function: str
    arguments: tuple[Node, ...]


Node = Literal | Name | Items | Operation | Call


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number, text, name, word, symbol, end
    value: str
    offset: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at, end = 0, len(text)
    while at < end:
        char = text[at]
        if char in " \t\r\n":
            at += 1
        elif char in "\"'":
            close = text.find(char, at + 1)
            if close < 0:
                raise ExpressionError("a text does not end", at, f"close it with {char}")
            found.append(_Token("text", text[at + 1 : close], at))
            at = close + 1
        elif char.isascii() and char.isdigit():
            stop = _number_end(text, at)
            found.append(_Token("number", text[at:stop], at))
            at = stop
        elif char.isascii() and (char.isalpha() or char == "_"):
            stop = at
            while (
                stop < end and text[stop].isascii() and (text[stop].isalnum() or text[stop] in "_.")
            ):
                stop += 1
            word = text[at:stop]
            found.append(_Token("word" if word in _WORDS else "name", word, at))
            at = stop
        else:
            symbol = next((s for s in _SYMBOLS if text.startswith(s, at)), None)
            if symbol is None:
                remedy = (
                    "compare with ==" if char == "=" else "texts are quoted" if char > "~" else ""
                )
                raise ExpressionError(f"unexpected character {char!r}", at, remedy)
            found.append(_Token("symbol", symbol, at))
            at += len(symbol)
    found.append(_Token("end", "", end))
    return found


def _number_end(text: str, at: int) -> int:
    stop, dots = at, 0
    while stop < len(text) and (text[stop] in "0123456789_" or (text[stop] == "." and not dots)):
        dots += text[stop] == "."
        stop += 1
    if stop < len(text) and (text[stop].isalpha() or text[stop] == "."):
        raise ExpressionError(
            f"not a number: {text[at : stop + 1]!r}", at, "write plain numbers in the field's unit"
        )
    if stop - at > _MAX_DIGITS or text[stop - 1] in "._":
        raise ExpressionError(f"not a usable number: {text[at:stop]!r}", at)
    return stop


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._nesting = 0

    def parse(self) -> Node:
        node = self._either()
        token = self._peek
        if token.kind != "end":
            remedy = ""
            if token.value in _COMPARISONS:
                remedy = "comparisons do not chain: use between(value, low, high) or `and`"
            raise ExpressionError(f"unexpected {token.value!r}", token.offset, remedy)
        return node

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _take(self, *values: str) -> _Token | None:
        token = self._peek
        if token.kind in ("symbol", "word") and token.value in values:
            return self._next()
        return None

    def _expect(self, value: str, opened: _Token) -> None:
        if self._take(value) is None:
            token = self._peek
            raise ExpressionError(
                f"expected {value!r} for the {opened.value!r} at character {opened.offset + 1}",
                token.offset,
            )

    def _deeper(self, token: _Token) -> None:
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise ExpressionError(
                "nested too deeply", token.offset, f"a condition is at most {MAX_DEPTH} levels deep"
            )

    def _chain(self, word: str, lower: str) -> Node:
        parse = self._both if lower == "both" else self._negation
        first = parse()
        operands = [first]
        offset = self._peek.offset
        while self._take(word):
            operands.append(parse())
        return first if len(operands) == 1 else Operation(offset, word, tuple(operands))

    def _either(self) -> Node:
        return self._chain("or", "both")

    def _both(self) -> Node:
        return self._chain("and", "negation")

    def _negation(self) -> Node:
        if token := self._take("not"):
            self._deeper(token)
            node = Operation(token.offset, "not", (self._negation(),))
            self._nesting -= 1
            return node
        return self._comparison()

    def _comparison(self) -> Node:
        left = self._sum()
        token = self._peek
        if token.kind == "symbol" and token.value in _COMPARISONS:
            self._next()
            return Operation(token.offset, token.value, (left, self._sum()))
        if self._take("in"):
            return Operation(token.offset, "in", (left, self._collection()))
        if token.kind == "word" and token.value == "not":
            self._next()
            if self._take("in") is None:
                raise ExpressionError("expected 'in' after 'not'", self._peek.offset)
            inside = Operation(token.offset, "in", (left, self._collection()))
            return Operation(token.offset, "not", (inside,))
        return left

    def _collection(self) -> Node:
        opened = self._take("[")
        if opened is None:
            token = self._next()
            if token.kind == "name":
                return Name(token.offset, token.value)
            raise ExpressionError("expected a list", token.offset, 'such as ["a", "b"]')
        items: list[Literal] = []
        while self._peek.value != "]" or self._peek.kind != "symbol":
            node = self._unary()
            if not isinstance(node, Literal):
                raise ExpressionError("lists hold literals only", node.offset)
            items.append(node)
            if self._take(",") is None:
                break
        self._expect("]", opened)
        return Items(opened.offset, tuple(items))

    def _sum(self) -> Node:
        node = self._product()
        while token := self._take("+", "-"):
            node = Operation(token.offset, token.value, (node, self._product()))
        return node

    def _product(self) -> Node:
        node = self._unary()
        while token := self._take("*", "/"):
            node = Operation(token.offset, token.value, (node, self._unary()))
        return node

    def _unary(self) -> Node:
        token = self._take("-")
        if token is None:
            return self._atom()
        self._deeper(token)
        operand = self._unary()
        self._nesting -= 1
        if isinstance(operand, Literal) and isinstance(operand.value, float):
            return Literal(token.offset, -operand.value)
        return Operation(token.offset, "neg", (operand,))

    def _atom(self) -> Node:
        token = self._next()
        if token.kind == "number":
            return Literal(token.offset, float(token.value.replace("_", "")))
        if token.kind == "text":
            return Literal(token.offset, token.value)
        if token.kind == "word" and token.value in ("true", "false"):
            return Literal(token.offset, token.value == "true")
        if token.kind == "name":
            opened = self._take("(")
            return self._call(token, opened) if opened else Name(token.offset, token.value)
        if token.kind == "symbol" and token.value == "(":
            self._deeper(token)
            node = self._either()
            self._expect(")", token)
            self._nesting -= 1
            return node
        found = "the end" if token.kind == "end" else repr(token.value)
        raise ExpressionError(f"expected a value, found {found}", token.offset)

    def _call(self, name: _Token, opened: _Token) -> Node:
        self._deeper(opened)
        arguments: list[Node] = []
        while self._peek.value != ")" or self._peek.kind != "symbol":
            arguments.append(self._either())
            if self._take(",") is None:
                break
        self._expect(")", opened)
        self._nesting -= 1
        return Call(name.offset, name.value, tuple(arguments))


def parse(text: str) -> Node:
    """Parse an expression; raise :class:`ExpressionError` with the place of the fault."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters", MAX_LENGTH)
    node = _Parser(text).parse()
    count, depth = _measure(node)
    if count > MAX_NODES:
        raise ExpressionError(f"{count} nodes", 0, f"a condition has at most {MAX_NODES}")
    if depth > MAX_DEPTH:
        raise ExpressionError(f"{depth} levels deep", 0, f"a condition has at most {MAX_DEPTH}")
    return node


def children(node: Node) -> tuple[Node, ...]:
    """Return what a node is made of."""
    if isinstance(node, Operation):
        return node.operands
    if isinstance(node, Call):
        return node.arguments
    if isinstance(node, Items):
        return node.items
    return ()


def names(node: Node) -> list[str]:
    """Return the paths that an expression reads, each once, in the order of the text."""
    found: dict[str, None] = {}
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, Name):
            found[current.path] = None
        waiting.extend(reversed(children(current)))
    return list(found)


def _measure(root: Node) -> tuple[int, int]:
    # Without recursion: a long sum is a deep tree before its depth has been refused.
    count = deepest = 0
    waiting = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        deepest = max(deepest, depth)
        waiting.extend((child, depth + 1) for child in children(node))
    return count, deepest
