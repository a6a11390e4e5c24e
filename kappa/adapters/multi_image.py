"""Forms of several pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from kappa.adapters.image import IMAGE_FORMATS, ImageFormats
from kappa.adapters.multi_file import InputNames, arguments_of, form_of
from kappa.adapters.multipart import form_content
from kappa.adapters.picture import Mode, array_of_image, pillow
from kappa.spec.contracts import InputAdapter
from kappa.types import Payload

__all__ = ["MultiImageInput"]


class MultiImageInput(InputAdapter):
    """A form of several pictures; functions receive one array per name, as `ImageInput` makes it, batch functions one
    list of them per name."""

    type: Literal["multi_image"] = "multi_image"
    input_names: InputNames = ("image",)
    """The names of the form's files, in the order of the function's parameters."""
    accept_image_formats: ImageFormats = IMAGE_FORMATS
    """The formats that are decoded, as file extensions."""
    pilmode: Mode = "RGB"
    """What the pictures are converted to, in Pillow's words, as by `ImageInput`."""

    @property
    def part_names(self) -> tuple[str, ...]:
        return self.input_names

    def requires(self) -> tuple[str, ...]:
        return ("numpy", "pillow")

    def decoder(self, load: Callable[[str], Any]) -> Callable[[Payload], Any]:
        pillow()
        return super().decoder(load)

    def decode(self, payload: Payload) -> tuple[Any, ...]:
        left = payload.limits.max_bytes  # together, not each

        def read(part: Payload) -> Any:
            nonlocal left
            limited = part._replace(limits=replace(part.limits, max_bytes=left))
            array = array_of_image(limited, formats=self.accept_image_formats, mode=self.pilmode)
            left -= array.nbytes
            return array

        return form_of(payload, dict.fromkeys(self.input_names, read))

    def nbytes_of(self, form: tuple[Any, ...]) -> int:
        return sum(array.nbytes for array in form)

    def merge(self, forms: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
        return arguments_of(forms)

    def request_content(self) -> dict[str, Any]:
        return form_content(self.input_names, media_type="image/*")
