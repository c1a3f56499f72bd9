"""Each value that 32 public repositories give for one pair of arrays is ours, or has a reason why it is not."""

import collections
import re

import numpy as np
import pytest
from language import hits
from scipy.linalg import orthogonal_procrustes

from benchmarks import conformance
from repsim_nb.measures import CCA, CKA, NBS, DegenerateComparisonError

ROWS, PUBLISHED = conformance.rows(), conformance.published()
X, Y = (side - side.mean(axis=0) for side in conformance.pair())


def test_the_pair_is_the_published_one():
    np.random.seed(0)
    x, y = np.random.rand(30, 25), np.random.rand(30, 25)
    assert np.array_equal(conformance.pair(), [x, y])
    assert round(CKA()(x, y), 8) == 0.48934274


def test_each_published_value_is_in_one_row_and_each_column_has_one():
    listed = collections.Counter((row.column, one) for row in ROWS for one in row.repositories)
    assert set(listed.values()) == {1} and set(listed) == set(PUBLISHED)
    assert {row.column for row in ROWS} == set(conformance.columns()) and len(conformance.columns()) == 192
    assert len({one for _, one in PUBLISHED}) == 32
    assert [row.column for row in ROWS if not row.repositories] == ["wreath_cka"], "the only column without a value"


def test_each_row_without_agreement_has_a_reason_and_each_reason_a_row():
    why = conformance.reasons()
    assert all(row.reason for row in ROWS if row.verdict != "agrees")
    assert {row.reason for row in ROWS} - {""} == set(why)
    assert len({title for title, _ in why.values()}) == len(why) and all(text for _, text in why.values())
    assert all(row.digits in (None, 6, 8, 12) for row in ROWS)
    assert all(row.reason for row in ROWS if row.digits and row.digits < 12), "fewer digits have a reason"


def test_the_reasons_are_in_plain_english(tmp_path):
    for line, (title, text) in enumerate(conformance.reasons().values()):
        (tmp_path / f"{line}.txt").write_text(f"{title}. {text}")
    assert hits(sorted(tmp_path.glob("*.txt"))) == []


def test_rows_agree_to_their_digits_or_differ():
    for row in ROWS:
        if row.verdict in ("agrees", "differs"):
            value = conformance.ours(row)
            for one in row.repositories:
                theirs = PUBLISHED[row.column, one]
                assert conformance.close(value, theirs, row.digits or 5) == (row.verdict == "agrees"), (row, value)


def test_a_measure_that_we_have_is_out_of_scope_nowhere_it_could_be_computed():
    for row in ROWS:  # a column is out of scope for all its repositories, or for none
        assert len({one.verdict == "out of scope" for one in ROWS if one.column == row.column}) == 1, row.column


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.verdict == "refused" or "degenerate" in row.measure],
    ids=lambda row: f"{row.column}-{row.repositories[0]}",
)
def test_what_is_refused_or_degenerate_is_refused_by_default(row):
    measure = conformance.measure_of(re.sub(r"(, )?degenerate='allow'", "", row.measure))
    with pytest.raises(DegenerateComparisonError, match="exceed n - 1 = 29"):
        measure(*conformance.pair())


def test_procrustes_of_most_repositories_is_that_of_scipy():
    _, nuclear = orthogonal_procrustes(X, Y)
    length = np.linalg.norm(X) * np.linalg.norm(Y)
    assert NBS()(X, Y) == pytest.approx(nuclear / length, abs=1e-12)
    # rotations of samples and features: singular values against singular values (von Neumann)
    both = np.linalg.svd(X, compute_uv=False) @ np.linalg.svd(Y, compute_uv=False) / length
    theirs = {one: value for (column, one), value in PUBLISHED.items() if column == "procrustes-score"}
    assert round(both, 4) == 0.9983 and theirs["nnsrm_neurips18"] > both > theirs["modelsym"] > nuclear / length
    assert sum(value == pytest.approx(nuclear / length, abs=1e-8) for value in theirs.values()) == len(theirs) - 2


@pytest.mark.parametrize(("one", "other"), [(X, Y), (Y, X)])
def test_no_basis_gives_the_pwcca_of_four_repositories(one, other):
    q = np.linalg.qr(one)[0]
    u, rho, _ = np.linalg.svd(q.T @ np.linalg.qr(other)[0])
    assert np.sum(rho > 1 - 1e-9) == 21
    along = (q @ u).T @ one  # the features in the directions of one decomposition
    weights = np.abs(along).sum(axis=1)
    fixed, weighted = weights[21:].sum(), weights[21:] @ rho[21:]

    def value(certain):
        return (weighted + certain) / (fixed + certain)

    rng = np.random.default_rng(0)
    turned = (np.linalg.qr(rng.normal(size=(21, 21)))[0] @ along[:21] for _ in range(100))
    found = [value(np.abs(part).sum()) for part in turned]
    assert max(found) - min(found) > 0.003, "another basis of the same space gives another value"
    limit = value(np.sqrt(21) * np.linalg.norm(along[:21], axis=0).sum())  # Cauchy and Schwarz, for each feature
    assert max(found) < limit < 0.913 < PUBLISHED["pwcca-score", "svcca"]


def test_the_svcca_of_single_repositories_is_explained():
    u, v = (np.linalg.svd(side)[0] for side in (X, Y))

    def correlations(p, q):
        return np.linalg.svd(u[:, :p].T @ v[:, :q], compute_uv=False)

    def theirs(part, one):
        return pytest.approx(PUBLISHED[f"svcca-var={part}-score", one], abs=1e-9)

    assert correlations(16, 17).sum() / np.sqrt(16 * 17) == theirs(0.95, "netrep")
    assert correlations(16, 16).mean() == theirs(0.95, "repsim")
    assert correlations(1, 1).mean() == theirs(0.99, "resi")
    assert correlations(16, 17).mean() == theirs(0.95, "svcca") and correlations(21, 21).mean() == theirs(0.99, "svcca")
    assert [CCA(variance=0.76).prepare(side).q.shape[1] for side in (X, Y)] == [10, 10]


def test_ridge_without_intercept_gives_the_r2_of_one_repository():
    x, y = conformance.pair()
    left = y - x @ np.linalg.solve(x.T @ x + np.eye(25), x.T @ y)
    r2 = 1 - (left**2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    assert r2.mean() == pytest.approx(PUBLISHED["ridge-lambda=1-r2", "brain_language_nlp"], abs=1e-12)


def test_the_page_is_what_the_table_has():
    page = (conformance.ROOT / "benchmarks" / "CONFORMANCE.md").read_text()
    assert page == conformance.page(), "python -m benchmarks.conformance writes the page again"
    anchors = {conformance._anchor(line[4:]) for line in page.splitlines() if line.startswith("### ")}
    assert set(re.findall(r"\(#([^)]+)\)", page)) == anchors
    assert page.count("\n| ") >= len(conformance.columns()) and str(conformance.counts()["agrees"]) in page
