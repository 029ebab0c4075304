"""Fills a local Qdrant collection from an exported index, and searches it with a text.

edge-glass search "a red car" images --model exported/align --runtime onnx
edge-glass index export images images.parquet --format parquet
python fill_qdrant.py images.parquet exported/align "a red car"
"""

import sys

import pyarrow.parquet as pq
from qdrant_client import QdrantClient, models

from edge_glass.fusion.edge.dual_encoder import EdgeDualEncoder

NAME = "images"


def fill(client, file):
    table = pq.read_table(file)
    size = table["embedding"].type.list_size
    metric = models.VectorParams(size=size, distance=models.Distance.COSINE)
    client.create_collection(NAME, vectors_config=metric)
    points = [
        models.PointStruct(id=number, vector=row["embedding"], payload={"image": row["image"]})
        for number, row in enumerate(table.to_pylist())
    ]
    client.upload_points(NAME, points)


def search(client, vector, top=5):
    points = client.query_points(NAME, query=vector.tolist(), limit=top).points
    return [(point.score, point.payload["image"]) for point in points]


if __name__ == "__main__":
    file, model, text = sys.argv[1:]
    client = QdrantClient(":memory:")  # or path="a folder", which keeps the collection
    fill(client, file)
    for score, image in search(client, EdgeDualEncoder(model).encode_text([text])[0]):
        print(f"{score:.4f}  {image}")
