"""Draw the diagrams of the architecture page: ``python docs/diagrams/draw.py`` writes an SVG for each pipeline."""

from html import escape
from pathlib import Path

WIDTH, HEIGHT, ARROW, MARGIN = 168, 72, 168, 12
STYLE = "font-family='system-ui, sans-serif' text-anchor='middle'"

# A pipeline alternates values with their notes, and functions with their modules.
PIPELINES = {
    "prompts": [
        ("image file", "path, bytes, array"),
        ("read_image", "image.py"),
        ("Image", "RGB uint8, digest"),
        ("encode", "sam/encode.py"),
        ("EncodedImage", "image embedding"),
        ("decode", "sam/decode.py"),
        ("Mask", "RLE, scores"),
    ],
    "naming": [
        ("Mask", "on an Image"),
        ("RegionEncoder", "clip/regions.py"),
        ("image features", "float (N, width)"),
        ("names", "clip/classifier.py"),
        ("Name", "label, probability"),
        ("Segmenter", "segmenter.py"),
        ("Segments", "of one image"),
    ],
    "labels": [
        ("labels", "list, file, built-in"),
        ("Vocabulary.of", "clip/vocabulary.py"),
        ("Vocabulary", "labels, templates"),
        ("encode_vocabulary", "clip/text_features.py"),
        ("text features", "float (L, width)"),
        ("classifier", "clip/classifier.py"),
        ("probabilities", "float (N, L)"),
    ],
    "directory": [
        ("directory", "or bucket"),
        ("list_images", "dataset/listing.py"),
        ("image files", "sorted by path"),
        ("Labeller", "dataset/labeller.py"),
        ("ImageAnnotations", "segments, digests"),
        ("Journal", "dataset/journal.py"),
        ("segments.jsonl", "and COCO, overlays"),
    ],
}


def draw(steps: list[tuple[str, str]]) -> str:
    """An SVG of values as boxes, and of the functions between them as labelled arrows."""
    values, functions = steps[::2], steps[1::2]
    span = WIDTH + ARROW
    width, height = span * (len(values) - 1) + WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN
    middle = height / 2
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' {STYLE} role='img'>",
        "<title>" + escape(" -> ".join(name for name, _ in steps)) + "</title>",
        f"<rect width='{width}' height='{height}' rx='8' fill='#f4f6f6'/>",
    ]
    for index, (name, note) in enumerate(values):
        x = MARGIN + index * span
        parts += [
            f"<rect x='{x}' y='{MARGIN}' width='{WIDTH}' height='{HEIGHT}' rx='6' fill='#ffffff' stroke='#00796b'/>",
            f"<text x='{x + WIDTH / 2}' y='{middle - 3}' font-size='21' fill='#1a2b29'>{escape(name)}</text>",
            f"<text x='{x + WIDTH / 2}' y='{middle + 22}' font-size='16' fill='#5b6b69'>{escape(note)}</text>",
        ]
    for index, (name, note) in enumerate(functions):
        start = MARGIN + index * span + WIDTH + 4
        end = start + ARROW - 8
        centre = (start + end) / 2
        parts += [
            f"<path d='M{start} {middle}H{end - 6}' stroke='#00796b' stroke-width='2'/>",
            f"<path d='M{end} {middle}l-9 -5v10z' fill='#00796b'/>",
            f"<text x='{centre}' y='{middle - 9}' font-size='18' fill='#1a2b29'>{escape(name)}</text>",
            f"<text x='{centre}' y='{middle + 24}' font-size='15' fill='#5b6b69'>{escape(note)}</text>",
        ]
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    for name, steps in PIPELINES.items():
        Path(__file__).with_name(f"{name}.svg").write_text(draw(steps), "utf-8")
