"""A picture, and annotations of it in JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import model_validator

from kappa.adapters.image import IMAGE_FORMATS, ImageFormats
from kappa.adapters.json import read_json
from kappa.adapters.multi_file import arguments_of, form_of
from kappa.adapters.multipart import FORM, form_content
from kappa.adapters.picture import Mode, array_of_image, pillow
from kappa.spec.contracts import InputAdapter, Name
from kappa.types import Payload

__all__ = ["AnnotatedImageInput"]


class AnnotatedImageInput(InputAdapter):
    """A form of a picture and, if the client sends them, annotations in JSON; functions receive an array and the parsed
    annotations or `None`, batch functions a list of each."""

    type: Literal["annotated_image"] = "annotated_image"
    image_input_name: Name = "image"
    """The name of the picture in the form."""
    annotation_input_name: Name = "annotations"
    """The name of the annotations in the form."""
    accept_image_formats: ImageFormats = IMAGE_FORMATS
    """The formats that are decoded, as file extensions."""
    pilmode: Mode = "RGB"
    """What the picture is converted to, in Pillow's words, as by `ImageInput`."""

    @model_validator(mode="after")
    def _different_names(self) -> AnnotatedImageInput:
        if self.image_input_name == self.annotation_input_name:
            raise ValueError("the picture and its annotations need different names")
        return self

    @property
    def part_names(self) -> tuple[str, ...]:
        return (self.image_input_name, self.annotation_input_name)

    def requires(self) -> tuple[str, ...]:
        return ("numpy", "pillow")

    def decoder(self, load: Callable[[str], Any]) -> Callable[[Payload], Any]:
        pillow()
        return super().decoder(load)

    def decode(self, payload: Payload) -> tuple[Any, ...]:
        readers = {self.image_input_name: self._read_image, self.annotation_input_name: read_json}
        return form_of(payload, readers, optional=(self.annotation_input_name,))

    def _read_image(self, part: Payload) -> Any:
        return array_of_image(part, formats=self.accept_image_formats, mode=self.pilmode)

    def nbytes_of(self, form: tuple[Any, ...]) -> int:
        return int(form[0].nbytes)

    def merge(self, forms: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
        return arguments_of(forms)

    def request_content(self) -> dict[str, Any]:
        content = form_content([self.image_input_name], media_type="image/*")
        content[FORM]["schema"]["properties"][self.annotation_input_name] = {}
        content[FORM]["encoding"][self.annotation_input_name] = {"contentType": "application/json"}
        return content
