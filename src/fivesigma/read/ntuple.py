"""The fields of an RNTuple, from its own records.

uproot's `keys` and `to_akform` say the same, but take 10 to 40 s for the 2,273 fields of a NanoAOD file; this takes as
long as reading the header. Format: https://github.com/root-project/root/blob/master/tree/ntuple/doc/BinaryFormatSpecification.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fivesigma.read.schema import COUNT, Branch

_LEAF, _COLLECTION, _RECORD = 0, 1, 2  # structural roles of fields
_PROJECTED = 2  # flag of fields that show the columns of other fields
_NUMBERS = {
    "bool": "bool",
    "float": "float32",
    "double": "float64",
    "ROOT::RNTupleCardinality<std::uint32_t>": "int64",  # what uproot makes of the difference of offsets
    "ROOT::RNTupleCardinality<std::uint64_t>": "int64",
    **{f"std::{sign}int{bits}_t": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
# ROOT's RNTupleImporter (before 6.34) puts the members of one counted collection under an anonymous record.
_ANONYMOUS_COLLECTION = re.compile(r"_collection\d+")
_OPTIONAL = ("std::optional<", "std::unique_ptr<")
MAX_DEPTH = 2  # lists in lists that are read
_BASE_CLASS = re.compile(r":_\d+")
_CODECS = {0: "none", 1: "ZLIB", 2: "LZMA", 4: "LZ4", 5: "ZSTD"}  # ROOT's compression settings, divided by 100


def ntuple_branches(ntuple: Any) -> dict[str, Branch]:
    """The readable and unreadable fields of an RNTuple, members of records with a dot in their name.

    A record's members, also those of its base classes, and those of a collection of records are fields of their own.
    Names that two fields share after that (repeated base classes) are left out: which is meant cannot be told.
    """
    records = list(ntuple.field_records)
    children: dict[int, list[int]] = {i: [] for i in range(len(records))}
    for i, record in enumerate(records):
        if record.parent_field_id != i:
            children[record.parent_field_id].append(i)
    codecs = _codecs(ntuple)
    found: dict[str, Branch] = {}
    counts: dict[str, Branch] = {}
    repeated: set[str] = set()
    for i, record in enumerate(records):
        if record.parent_field_id == i:
            for field, leaf, path, depth in _leaves(records, children, i, (), 0):
                name = ".".join(path)
                if record.flags & _PROJECTED and name in found:
                    continue  # the same values under their TTree name, which is what we call them anyway
                repeated |= {name} & found.keys()
                number = records[leaf]
                readable = depth <= MAX_DEPTH and not children[leaf] and not number.repetition
                dtype = _NUMBERS.get(number.type_name) if readable else None
                typename = f"{'std::vector<' * depth}{number.type_name}{'>' * depth}"
                branch = Branch(name, dtype, depth > 0, typename, codecs.get(leaf, ""), str(field))
                found[name] = branch
                if depth == MAX_DEPTH and dtype is not None:
                    counts[f"{name}{COUNT}"] = replace(branch, name=f"{name}{COUNT}", dtype="int64")
    found |= {name: branch for name, branch in counts.items() if name not in found}
    return {name: branch for name, branch in found.items() if name not in repeated}


def _leaves(
    records: Sequence[Any], children: dict[int, list[int]], i: int, path: tuple[str, ...], depth: int
) -> Iterator[tuple[int, int, tuple[str, ...], int]]:
    """The named fields under field ``i``: number, number of the field with the values, path, lists around them."""
    record, inner = records[i], children[i]
    anonymous = _BASE_CLASS.fullmatch(record.field_name) or _ANONYMOUS_COLLECTION.fullmatch(record.field_name)
    path = path if anonymous else (*path, record.field_name)
    element, lists = i, 0
    while _is_list(records[element]) and len(children[element]) == 1:
        element, lists = children[element][0], lists + 1
    if lists and records[element].struct_role in (_LEAF, _COLLECTION) and not children[element]:
        yield i, element, path, depth + lists
    elif lists and records[element].struct_role == _RECORD and not _is_tuple(records[element]):
        for member in children[element]:
            yield from _leaves(records, children, member, path, depth + lists)
    elif record.struct_role == _RECORD and inner and not record.repetition and not _is_tuple(record):
        for member in inner:
            yield from _leaves(records, children, member, path, depth)
    else:
        yield i, i, path, depth


def _is_list(record: Any) -> bool:
    """A vector, set or fixed-size array; not an optional value, which the format writes like a vector."""
    if str(record.type_name).startswith(_OPTIONAL):
        return False
    return record.struct_role == _COLLECTION or (record.struct_role == _LEAF and bool(record.repetition))


def _is_tuple(record: Any) -> bool:
    return str(record.type_name).startswith(("std::pair<", "std::tuple<"))


def _codecs(ntuple: Any) -> dict[int, str]:
    """Codec of each field that has columns, by its number, as the first cluster states it."""
    pages = ntuple.page_link_list
    if not pages or not pages[0]:
        return {}
    codecs: dict[int, str] = {}
    for column, listed in zip(ntuple.column_records, pages[0], strict=False):
        setting = listed.compression_settings
        if setting is not None:
            name = _CODECS.get(setting // 100, f"codec {setting // 100}")
            codecs[column.field_id] = f"{name}({setting % 100})" if setting else name
    return codecs
