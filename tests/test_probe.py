"""The two probes against scikit-learn and a plain numpy vote."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from jaxcv.evals import knn, probe
from jaxcv.evals.features import Features, make_extract, on_mesh
from jaxcv.mesh import make_mesh

CLASSES = 5


def split(seed, count, spread=1.0):
    centres = np.random.default_rng(9).normal(size=(CLASSES, 12))
    rng = np.random.default_rng(seed)
    label = rng.integers(0, CLASSES, count).astype(np.int32)
    return Features((centres[label] + spread * rng.normal(size=(count, 12))).astype(np.float32), label)


def numpy_vote(bank, query, k, temperature):
    b, q = (x.feature / np.linalg.norm(x.feature, axis=1, keepdims=True) for x in (bank, query))
    similarity = q.astype(np.float64) @ b.T.astype(np.float64)
    correct = 0
    for row, label in zip(similarity, query.label):
        near = np.argsort(-row, kind="stable")[:k]
        votes = np.bincount(bank.label[near], np.exp(row[near] / temperature), minlength=CLASSES)
        correct += votes.argmax() == label
    return correct / len(query.label)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.07), (200, 0.1), (1000, 1.0)])
def test_knn_is_the_weighted_vote(k, temperature):
    bank, query = split(0, 301, 2.0), split(1, 90, 2.0)  # 301 rows on 4 devices, 90 queries in batches of 64
    options = {"k": k, "temperature": temperature, "batch_size": 64}
    actual = knn.make_knn(bank, mesh=make_mesh(), num_classes=CLASSES, **options)(query)
    assert actual == pytest.approx(numpy_vote(bank, query, min(k, 301), temperature))
    assert 0.3 < actual < 1


def test_linear_probe_is_logistic_regression():
    train, test = split(0, 403, 2.0), split(1, 200, 2.0)
    actual = probe.make_linear(train, mesh=make_mesh(), num_classes=CLASSES, chunk=128)(test)
    scale = StandardScaler().fit(train.feature)
    row = np.arange(403)
    kept, held = row % 10 != 9, row % 10 == 9
    x = scale.transform(train.feature)

    def fit(rows, l2):
        return LogisticRegression(C=1 / (l2 * rows.sum()), max_iter=2000, tol=1e-8).fit(x[rows], train.label[rows])

    scores = [fit(kept, l2).score(x[held], train.label[held]) for l2 in probe.L2_GRID]
    best = probe.L2_GRID[int(np.argmax(scores))]
    assert actual == pytest.approx(fit(row >= 0, best).score(scale.transform(test.feature), test.label), abs=0.006)


def test_the_fit_reaches_scikit_learns_weights():
    train = split(3, 256)
    rows, labels = on_mesh(make_mesh(), train.feature, train.label, chunk=64)
    weights = probe._fit(probe.init_linear(12, CLASSES), rows, labels, labels >= 0, 1e-2, 200)
    oracle = LogisticRegression(C=1 / (1e-2 * 256), max_iter=5000, tol=1e-10).fit(train.feature, train.label)
    centred = np.asarray(weights["kernel"]) - np.asarray(weights["kernel"]).mean(1, keepdims=True)
    np.testing.assert_allclose(centred, oracle.coef_.T - oracle.coef_.T.mean(1, keepdims=True), atol=2e-3)


def test_extract_keeps_order_and_leaves_out_padding():
    def predict(params, model_state, image):
        return {"feature": params * image}

    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    batches = [
        {"image": rows[:8], "label": np.arange(8, dtype=np.int32), "valid": np.ones(8, np.float32)},
        {
            "image": np.concatenate([rows[8:], rows[:6]]),
            "label": np.array([8, 9, 0, 0, 0, 0, 0, 0], np.int32),
            "valid": np.array([1, 1, 0, 0, 0, 0, 0, 0], np.float32),
        },
    ]
    extract = make_extract(predict, make_mesh())
    features = extract(jax.numpy.float32(2), None, batches)
    np.testing.assert_array_equal(features.feature, 2 * rows)
    np.testing.assert_array_equal(features.label, np.arange(10))
