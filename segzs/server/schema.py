"""The bodies of requests and answers, as pydantic models: what the OpenAPI document says."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
Point = tuple[Number, Number]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class Body(BaseModel):
    """A body without unknown fields."""

    model_config = ConfigDict(extra="forbid")


class Error(BaseModel):
    error: str


class Health(BaseModel):
    status: str
    model: str
    version: str


class Listed(BaseModel):
    name: str
    digest: str | None


class Images(BaseModel):
    images: list[Listed]


class Open(Body):
    name: str


class Opened(BaseModel):
    digest: str
    name: str
    width: int
    height: int
    encoded: bool


class Encoded(BaseModel):
    digest: str
    encoded: bool


class Prompt(Body):
    """One object: points on it and off it, a box around it, or both; in image pixels."""

    points: list[Point] = Field(default=[], max_length=1000)
    positive: list[bool] | None = None
    box: tuple[Number, Number, Number, Number] | None = None


class Prompts(Body):
    prompts: list[Prompt] = Field(max_length=1000)
    names: bool = True


class RLE(BaseModel):
    """A mask as COCO's compressed run lengths; the size is height, width."""

    size: tuple[int, int]
    counts: str


class Name(BaseModel):
    name: str
    probability: float = Field(ge=0, le=1)


class Segment(BaseModel):
    name: str
    probability: float
    runners_up: list[Name]
    box: tuple[int, int, int, int]
    area: int
    predicted_iou: float
    stability_score: float
    rle: RLE


class Segments(BaseModel):
    digest: str
    segments: list[Segment]


class Find(Body):
    text: Text


class Masks(Body):
    masks: list[RLE] = Field(max_length=1000)


class ExportedSegment(BaseModel):
    """A `Segment`, of which only the mask is needed."""

    rle: RLE
    name: str = Field(default="", max_length=500)
    probability: float = Field(default=1.0, ge=0, le=1)
    runners_up: list[Name] = Field(default=[], max_length=100)
    predicted_iou: Number = 1.0
    stability_score: Number = 1.0


class Export(Body):
    format: str
    name: str = Field(default="", max_length=500)
    segments: list[ExportedSegment] = Field(max_length=1000)


class Labels(BaseModel):
    labels: list[str]
    general: bool


class Format(BaseModel):
    name: str
    suffix: str
    folder: bool
    loses: str


class Formats(BaseModel):
    formats: list[Format]


class NewLabels(Body):
    labels: list[Text] | None = Field(max_length=10_000)


class Example(Body):
    digest: str
    rle: RLE
    name: Text


IMAGE_BODY: Any = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
EVENT: Any = {
    "type": "object",
    "properties": {"event": {"enum": ["progress", "result", "error"]}, "data": {"type": "string"}},
    "required": ["event", "data"],
}
EVENTS: Any = {
    "response_class": StreamingResponse,
    "responses": {
        200: {
            "content": {"text/event-stream": {"schema": EVENT}},
            "description": 'Events "progress" {done, total}, then "result" {digest, segments} or "error" {message}.',
        }
    },
}
