"""Small tables, and versions that were trained on them: for tests of predicting with rows of a table."""

import csv
import io
from collections import deque
from dataclasses import replace

import numpy as np

from perceptron import (
    Column,
    Dataset,
    Network,
    NetworkConfig,
    Standardization,
    TableEncoder,
    Task,
    TrainingConfig,
    fit,
    resolve_task,
)
from storage.codec import encode_model
from storage.jobs.store import JobStore
from tests.builders import RESULT, claimed, description

TREES = (
    "a,c,y\n1,oak,1.785\n3,elm,5.566\n26,fir,15.751\n8,elm,5.054\n40,elm,21.555\n40,fir,23.916\n20,fir,14.054\n"
    "40,elm,21.429\n37,oak,21.338\n28,fir,17.847\n21,oak,13.181\n38,elm,20.836\n2,elm,2.191\n26,elm,14.126\n"
    "8,fir,7.798\n29,oak,17.574\n"
)
CHURN = (
    "age,income,member,plan,y\n32,16.81,true,pro,churn\n69,25.15,false,plus,churn\n49,37.0,false,basic,stay\n"
    "62,,false,pro,churn\n44,15.68,true,,churn\n70,14.72,false,basic,churn\n62,20.45,true,pro,churn\n"
    "49,24.61,false,pro,churn\n55,31.74,false,plus,churn\n24,20.9,false,pro,churn\n71,,false,pro,churn\n"
    "40,21.12,true,pro,churn\n76,25.06,true,basic,churn\n20,18.08,false,,stay\n29,23.4,true,basic,stay\n"
    "25,17.06,false,basic,stay\n26,17.48,false,basic,stay\n24,,true,basic,stay\n60,9.93,false,basic,stay\n"
    "63,9.37,true,basic,churn\n76,12.15,true,pro,churn\n41,21.83,false,plus,churn\n25,8.12,false,,stay\n"
    "42,9.27,false,pro,stay\n26,,false,pro,churn\n48,27.07,false,basic,stay\n21,12.57,true,basic,stay\n"
    "57,55.23,false,pro,churn\n23,32.32,true,pro,churn\n65,20.51,false,pro,churn\n36,14.34,false,pro,stay\n"
    "72,,false,,churn\n51,7.35,false,plus,stay\n49,30.96,false,plus,churn\n57,5.85,false,pro,churn\n"
    "45,20.22,true,basic,stay\n49,26.42,false,basic,stay\n36,6.62,false,plus,stay\n74,,false,basic,churn\n"
    "68,20.24,true,pro,churn\n51,31.42,true,,churn\n59,10.47,false,basic,stay\n68,14.01,true,plus,churn\n"
    "36,39.66,true,plus,churn\n68,48.87,false,basic,churn\n56,,false,basic,stay\n36,50.15,false,basic,churn\n"
    "27,15.32,true,pro,churn\n32,16.87,true,basic,stay\n70,9.17,false,,churn\n74,12.9,true,pro,churn\n"
    "26,15.63,true,basic,stay\n66,,false,basic,churn\n60,23.73,false,pro,churn\n61,19.81,true,plus,churn\n"
    "71,20.05,false,basic,churn\n54,22.14,false,pro,churn\n20,10.65,false,plus,stay\n42,31.52,true,,churn\n"
    "70,,true,plus,churn\n"
)
GAPS = "c,d,y\np,m,1\nq,n,2\n,m,5\np,n,1.2\nq,m,2.2\n,n,5.3\np,m,0.9\nq,n,1.8\n"
GRADES = "g,y\n1,1\n2,2\nX,5\n1,1.2\n1,0.9\n2,2.1\nX,5.5\n2,1.9\n1,1.1\n"
FLAGS = (
    "b,q,n,z,y\nTRUE,Yes,Y,1,3.7\nfalse,Yes,Y,0,2.4\nTRUE,No,Y,1,4.1\nfalse,Yes,Y,0,3.8\nTRUE,Yes,N,1,6.5\n"
    "false,No,Y,0,4.2\nTRUE,Yes,Y,1,7.9\nfalse,Yes,Y,0,6.6\nTRUE,No,Y,1,8.3\nfalse,Yes,N,0,8.0\nTRUE,Yes,Y,1,10.7\n"
    "false,No,Y,0,8.4\n"
)
SPELLINGS = "a,c,y\n1,p,1\n,q,2\n3,p,3.2\n,q,2\n,p,5\n6,q,6.1\n,p,3\n,q,1\n9,p,9\n,q,2\n,p,2\n12,q,12\n,p,4\n"


def publish_table(jobs: JobStore, model: str, text: str) -> int:
    """Train one neuron to the optimum on a CSV whose last column is the target, and publish it; return its number."""
    header, *rows = csv.reader(io.StringIO(text))
    columns, codes = zip(*(_column(name, [row[j] for row in rows]) for j, name in enumerate(header[:-1])), strict=True)
    table = np.column_stack(codes)
    encoder = TableEncoder.learn(columns, [(table, None)])
    last = [row[-1] for row in rows]
    task, targets = resolve_task(last if any(map(str.isalpha, last)) else [float(each) for each in last])
    if task.kind != "regression":
        task = replace(task, loss="cross_entropy")
    features = encoder.encode(table)
    standardization = Standardization.of(features)
    config = TrainingConfig(loss=task.loss, optimizer="newton", l2=0.01, tolerance=0.0, max_epochs=50)
    dataset = Dataset(standardization.apply(features), targets)
    (end,) = deque(fit(dataset, NetworkConfig(task.activation), config), maxlen=1)
    return publish_encoder(jobs, model, encoder, end.network, task, standardization, target=header[-1])


def publish_encoder(
    jobs: JobStore,
    model: str,
    encoder: TableEncoder,
    network: Network,
    task: Task,
    standardization: Standardization | None = None,
    *,
    target: str | None = "y",
) -> int:
    """Publish a version of one layer that takes the columns of an encoder; return its number."""
    attempt = claimed(jobs, model)
    encoded = encode_model(network, standardization, encoder, target)
    described = replace(
        description(attempt, encoded),
        task=task,
        network=NetworkConfig(activation=task.activation),
        feature_names=encoder.feature_names,
        metrics={},
    )
    return attempt.publish(encoded, described, RESULT)


def _column(name: str, cells: list[str]) -> tuple[Column, list[float]]:
    """Return a column and the codes of its cells, by a rule that is enough for these tables."""
    known = {cell for cell in cells if cell}
    nan = float("nan")
    if {cell.lower() for cell in known} <= {"true", "false"}:
        return Column(name, "boolean"), [float(cell.lower() == "true") if cell else nan for cell in cells]
    if all(cell.replace(".", "").isdigit() for cell in known):
        return Column(name, "numeric"), [float(cell) if cell else nan for cell in cells]
    levels = tuple(sorted(known))
    return Column(name, "categorical", levels), [float(levels.index(cell)) if cell else nan for cell in cells]
