"""A page of imported images as the vision encoder gets them, with their texts."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.encoders.towers.square import WHITE, fit_square
from edge_glass.fusion.sheets.sample_sheet import Sample, sample_sheet
from edge_glass.training.ingest.image_reader import ImageReader
from edge_glass.training.ingest.images import check_image
from edge_glass.training.ingest.project import View
from edge_glass.training.ingest.reading.records import Record, RowProblem
from edge_glass.training.ingest.report import Report
from edge_glass.training.ingest.slices import read_slice, slice_path

MAX_TEXTS = 4  # of an image


def draw_samples(report: Report, work: Path, reader: ImageReader, view: View, path: Path) -> None:
    """Draws the page; it is left out if no image can be used.

    Args:
        report: names the samples.
        work: folder of the slices.
        reader: of the images.
        view: how the vision encoder sees an image.
        path: PNG to write.
    """
    wanted: dict[int, set[int]] = defaultdict(set)
    for _, number, record in report.samples:
        wanted[number].add(record)
    samples: list[Sample] = []
    for number in sorted(wanted):
        for place, each in enumerate(read_slice(slice_path(work, number))):
            if place in wanted[number]:
                try:
                    samples.append(_sample(each, reader, view))
                except RowProblem as fault:
                    # the source has changed meanwhile
                    report.notes.append(f"Not on the page of samples: {each.image.name}: {fault}")
    if samples:
        title = (
            f"{report.source}: images as {view.name} gets them, {view.size} x {view.size} pixels"
        )
        sample_sheet(path, samples, title, report.counts(), of_machine=True)


def _sample(record: Record, reader: ImageReader, view: View) -> Sample:
    checked = check_image(reader.read(record.image))
    try:
        # "mean" stands for the mean colour of the encoder's training images, some grey
        bars = (128, 128, 128) if view.pad_color == "mean" else WHITE
        seen = fit_square(to_rgb(decode_image(checked.data)), view.size, view.fit, bars)
    except BadImageError as error:
        raise RowProblem(error.reason, error.detail) from None
    kind = checked.name.rpartition(".")[2].upper()
    about = f"{checked.size[0]} x {checked.size[1]} {kind}, {len(checked.data) / 1000:,.1f} kB"
    texts = [(caption, "") for caption in record.captions]
    texts += [(question.question, question.answer) for question in record.questions]
    place = record.file if record.line is None else f"{record.file}:{record.line}"
    return Sample(image=seen, note=f"{place}: {about}", texts=texts[:MAX_TEXTS])
