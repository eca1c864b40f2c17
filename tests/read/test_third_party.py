"""Files that others wrote: the same content in every codec and container reads equal, or is refused by name."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from fivesigma.core.errors import FileFormatError, FivesigmaError, NoEventsError
from fivesigma.core.jagged import Column, Jagged
from fivesigma.read import InputFile, open_events
from fivesigma.read.root import read_range, scan, trees_in

pytestmark = pytest.mark.shared_data

CODECS = ("uncompressed", "zlib", "lz4", "zstd", "lzma")
MAX_BRANCHES = 20  # of each tree that are read, evenly chosen
MAX_ENTRIES = 50


def assert_same(a: Column, b: Column) -> None:
    if isinstance(a, Jagged):
        assert isinstance(b, Jagged)
        np.testing.assert_array_equal(a.offsets, b.offsets)
        a, b = a.values, b.values
    assert not isinstance(b, Jagged)
    np.testing.assert_array_equal(a, b)


def read_all(file: InputFile) -> dict[str, Column]:
    return read_range(file, 0, file.entries, [b.name for b in file.branches.values() if b.dtype is not None])


@pytest.mark.parametrize("content", ["HZZ", "Zmumu"])
def test_five_codecs_read_equal(shared_data: Path, content: str) -> None:
    first = read_all(scan(shared_data / "root-io" / f"uproot-{content}-{CODECS[0]}.root"))
    assert len(first) >= 19
    for codec in CODECS[1:]:
        other = read_all(scan(shared_data / "root-io" / f"uproot-{content}-{codec}.root"))
        assert other.keys() == first.keys()
        for name, column in first.items():
            assert other[name].dtype == column.dtype
            assert_same(column, other[name])


def test_the_dimuon_mass_is_that_of_the_z(shared_data: Path) -> None:
    """An expression over a real file: the mass of its muon pairs is the mass that the file has itself."""
    from fivesigma.read import Expression

    mass = Expression("sqrt((E1 + E2)**2 - (px1 + px2)**2 - (py1 + py2)**2 - (pz1 + pz2)**2)")
    events = open_events(shared_data / "root-io" / "uproot-Zmumu-zlib.root")
    columns = events.read(next(events.partitions()), [*mass.columns, "M"])
    np.testing.assert_allclose(mass.evaluate(columns), columns["M"], rtol=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["nano_dimuon", "treemaker"])
def test_ttree_and_rntuple_read_equal(shared_data: Path, name: str) -> None:
    folder = shared_data / "cms-atlas-events"
    ntuple = scan(folder / f"{name}_rntuple.root")
    tree = scan(folder / f"{name}.root", ntuple.tree)
    assert tree.entries == ntuple.entries
    shared = [n for n, b in tree.branches.items() if b.dtype is not None and n in ntuple.branches]
    assert len(shared) > 0.8 * len(ntuple.branches)  # treemaker's Lorentz vectors are objects in the TTree
    chosen = [n for n in shared if tree.branches[n] == ntuple.branches[n]]
    chosen = chosen[:: max(1, len(chosen) // MAX_BRANCHES)]
    a, b = (read_range(file, 0, file.entries, chosen) for file in (tree, ntuple))
    for branch in chosen:
        assert_same(a[branch], b[branch])


SLOW_IN_UPROOT = ("int_multicluster", "NANOAOD_RNTuple", "nanoAOD")  # a cluster of 10^8 entries; thousands of fields


def test_every_file_reads_as_uproot_reads_it_or_is_refused(shared_data: Path) -> None:
    nothing_readable, refused = set(), set()
    for path in sorted((shared_data / "root-io").glob("*.root")):
        if any(name in path.name for name in SLOW_IN_UPROOT):
            continue
        for tree in trees_in(path):
            file = scan(path, tree)
            readable = [b.name for b in file.branches.values() if b.dtype is not None]
            if not readable:
                nothing_readable.add(path.name)
                continue
            try:
                compare_with_uproot(file, readable[:: max(1, len(readable) // MAX_BRANCHES)])
            except FileFormatError:
                refused.add(path.name)
    assert nothing_readable == {
        "test_atomic_bitset_rntuple_v1-0-0-0.root",
        "test_emptystruct_invalidvar_rntuple_v1-0-0-0.root",
    }
    assert refused <= {"uproot-issue513.root"}  # Delphes' fBits, which uproot cannot read either


def compare_with_uproot(file: InputFile, names: list[str]) -> None:
    stop = min(MAX_ENTRIES, file.entries)
    columns = read_range(file, 0, stop, names)
    with uproot.open(file.path) as source:
        tree = source[file.tree]
        known = set(tree.keys())
        for name in [n for n in names if n in known]:  # uproot calls some _collection0.…
            column, reference = columns[name], tree[name].array(entry_stop=stop)
            if reference.ndim == 3:
                reference = ak.flatten(reference, axis=2)
            if isinstance(column, Jagged):
                np.testing.assert_array_equal(column.counts, ak.num(reference), err_msg=f"{file.path.name} {name}")
                column, reference = column.values, ak.flatten(reference)
            np.testing.assert_array_equal(column, ak.to_numpy(reference), err_msg=f"{file.path.name} {name}")


def test_the_importers_fields_have_their_tree_names(shared_data: Path) -> None:
    """CMS dimuons: `_collection0._0.Muon_pt` and its projection `Muon_pt` are one branch."""
    file = scan(shared_data / "root-io" / "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root")
    assert set(file.branches) == {"nMuon", "Muon_pt", "Muon_eta", "Muon_phi", "Muon_mass", "Muon_charge"}
    columns = read_all(file)
    pt = columns["Muon_pt"]
    assert isinstance(pt, Jagged)
    np.testing.assert_array_equal(pt.counts, columns["nMuon"])
    assert np.unique(columns["Muon_charge"].values).tolist() == [-1, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["root-io/uproot-empty.root", "cms-atlas-events/nano_dy_empty.root"])
def test_real_empty_trees(shared_data: Path, name: str) -> None:
    tree = "Events" if "nano" in name else None
    with pytest.raises(NoEventsError, match="no entries"):
        open_events(shared_data / name, tree)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.999])
def test_truncated_copies_are_refused(shared_data: Path, tmp_path: Path, codec: str, fraction: float) -> None:
    content = (shared_data / "root-io" / f"uproot-HZZ-{codec}.root").read_bytes()
    path = tmp_path / "cut.root"
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(FileFormatError, match=r"truncated|not a ROOT file"):
        scan(path)


@pytest.mark.parametrize("codec", ["zlib", "lzma"])
def test_flips_in_checked_codecs_never_pass_silently(shared_data: Path, tmp_path: Path, codec: str) -> None:
    """ZLIB and LZMA have checksums; the other codecs need a manifest (issue 3)."""
    source = shared_data / "root-io" / f"uproot-HZZ-{codec}.root"
    with uproot.open(source) as file:
        seeks = file["events"]["Jet_Px"].member("fBasketSeek"), file["events"]["Jet_Px"].member("fBasketBytes")
    expected = read_range(scan(source), 0, 2421, ["Jet_Px"])["Jet_Px"]
    rng = np.random.default_rng(7)
    silent = 0
    for _ in range(15):
        content = bytearray(source.read_bytes())
        place = int(rng.integers(seeks[0][0] + 100, seeks[0][0] + seeks[1][0]))
        content[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / "flipped.root"
        path.write_bytes(bytes(content))
        try:
            got = read_range(scan(path), 0, 2421, ["Jet_Px"])["Jet_Px"]
        except FivesigmaError:
            continue
        silent += ak.to_list(got.values) != ak.to_list(expected.values)  # type: ignore[union-attr]
    assert silent == 0
