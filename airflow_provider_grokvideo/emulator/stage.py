"""Contents of the frames of a generated clip. Expensive things are drawn once, cheap ones per frame."""

from __future__ import annotations

import io
from math import pi, sin

from PIL import Image, ImageDraw

from airflow_provider_grokvideo.emulator import sprites
from airflow_provider_grokvideo.emulator.palette import palette_of
from airflow_provider_grokvideo.emulator.recipe import FPS, Footage, Recipe

_PALE = (206, 212, 224)
_WHITE = (255, 255, 255)
_FADE_SECONDS = 0.4


def open_picture(footage: Footage) -> Image.Image:
    """Return a handed-in picture as RGB; one that was not fetched is drawn from the digest of its address."""
    if footage.data is None:
        colours = palette_of(footage.key)
        lights = [(0.3, 0.3, colours.subject), (0.75, 0.6, colours.companion)]
        return sprites.backdrop((footage.width, footage.height), colours.sky, colours.ground, lights)
    with Image.open(io.BytesIO(footage.data)) as picture:
        rgb: Image.Image = picture.convert("RGB")
        return rgb


def timecode(frame: int) -> str:
    """Return ``MM:SS:FF``: minutes, seconds and frames."""
    minutes, rest = divmod(frame // FPS, 60)
    return f"{minutes:02d}:{rest:02d}:{frame % FPS:02d}"


class Stage:
    """Draws the frames of one recipe; ``first`` is the number of the first frame drawn, for the timecode."""

    def __init__(self, recipe: Recipe, first: int = 0) -> None:
        self._recipe = recipe
        self._first = first
        self._size = (recipe.width, recipe.height)
        self._colours = palette_of(recipe.prompt)
        self._short = min(self._size)
        by_role: dict[str, list[Image.Image]] = {}
        self._pinned: list[tuple[float, Image.Image]] = []
        for still in recipe.stills:
            picture = open_picture(still.picture)
            by_role.setdefault(still.role, []).append(picture)
            if still.role in ("key", "last"):
                self._pinned.append((still.at, sprites.cover(picture, self._size)))
        self._opening = next((sprites.cover(p, self._size) for p in by_role.get("first", [])), None)
        self._tiles = self._framed(by_role.get("reference", []))
        self._backdrop = self._paint() if self._opening is None else None
        self._panel = self._caption()
        self._clock = sprites.font(max(11, self._short // 28))

    def frame(self, index: int) -> Image.Image:
        """Return frame ``index`` of the recipe's own length."""
        share = index / max(1, self._recipe.frames)
        picture = self._ground(share)
        if self._opening is None and not self._tiles:
            self._play(picture, index)
        self._show_tiles(picture, index)
        picture = self._show_pinned(picture, index / FPS)
        self._label(picture, index, share)
        return picture

    def _paint(self) -> Image.Image:
        width, height = int(self._size[0] * 1.25) // 2 * 2, int(self._size[1] * 1.25) // 2 * 2
        seed = self._colours.seed
        lights = [
            (0.2 + (seed >> 9) % 50 / 100, 0.25, self._colours.companion),
            (0.8 - (seed >> 17) % 40 / 100, 0.7, self._colours.sky),
        ]
        self._subject = sprites.subject(self._recipe.prompt, self._colours.subject, int(self._short * 0.34))
        self._shadow = sprites.shadow(self._subject.width)
        self._glow = sprites.glow(self._colours.companion, int(self._short * 0.55))
        return sprites.backdrop((width, height), self._colours.sky, self._colours.ground, lights)

    def _ground(self, share: float) -> Image.Image:
        width, height = self._size
        if self._opening is not None:
            margin = 0.12 * share / 2
            box = (width * margin, height * margin, width * (1 - margin), height * (1 - margin))
            return self._opening.resize(self._size, Image.Resampling.BILINEAR, box=box)
        if self._backdrop is None:
            raise TypeError("a stage has an opening picture or a backdrop")
        left = (self._backdrop.width - width) * (0.5 + 0.5 * sin(2 * pi * share))
        top = (self._backdrop.height - height) * (0.5 + 0.5 * sin(2 * pi * share + 1.3))
        return self._backdrop.crop((int(left), int(top), int(left) + width, int(top) + height))

    def _play(self, picture: Image.Image, index: int) -> None:
        width, height = self._size
        moment = index / FPS
        drift = int(width * (0.5 + 0.42 * sin(0.7 * moment + self._colours.seed % 7)))
        picture.paste(self._glow, (drift - self._glow.width // 2, int(height * 0.04)), self._glow)
        ball = self._subject
        x = int(width * (0.5 + 0.3 * sin(0.9 * moment)))
        floor = int(height * 0.70)
        bounce = abs(sin(2.4 * moment + 0.6))
        y = int(floor - ball.height - bounce * height * 0.16)
        ground = (x - self._shadow.width // 2, floor - self._shadow.height // 2)
        picture.paste(self._shadow, ground, self._shadow)
        picture.paste(ball, (x - ball.width // 2, y), ball)

    def _framed(self, pictures: list[Image.Image]) -> list[Image.Image]:
        if not pictures:
            return []
        room = self._size[0] * 0.92 / max(3, len(pictures))
        side = int(min(room * 0.9, self._size[1] * 0.5))
        edge = max(2, side // 40)
        tiles = []
        for picture in pictures:
            tile = Image.new("RGB", (side, side), _WHITE)
            tile.paste(sprites.cover(picture, (side - 2 * edge, side - 2 * edge)), (edge, edge))
            tiles.append(tile)
        return tiles

    def _show_tiles(self, picture: Image.Image, index: int) -> None:
        count = len(self._tiles)
        for number, tile in enumerate(self._tiles):
            x = self._size[0] * (number + 0.5) / count - tile.width / 2
            sway = sin(1.6 * index / FPS + number) * self._size[1] * 0.03
            picture.paste(tile, (int(x), int(self._size[1] * 0.36 - tile.height / 2 + sway)))

    def _show_pinned(self, picture: Image.Image, moment: float) -> Image.Image:
        for at, still in self._pinned:
            weight = 1 - max(0.0, abs(moment - at) - 1 / FPS) / _FADE_SECONDS
            if weight > 0:
                picture = Image.blend(picture, still, min(1.0, weight))
        return picture

    def _caption(self) -> Image.Image:
        recipe = self._recipe
        big, small = sprites.font(max(14, self._short // 20)), sprites.font(max(11, self._short // 32))
        room = self._size[0] - 4 * max(6, self._size[0] // 70)
        rows = [(row, big, _WHITE) for row in sprites.wrap(recipe.prompt or "(no prompt)", big, room, 2)]
        length = f"+{recipe.frames / FPS:g} s" if recipe.mode == "extend" else f"{recipe.frames / FPS:g} s"
        facts = f"{recipe.mode}  ·  {recipe.model}  ·  {recipe.width}×{recipe.height}  ·  {length}"
        rows.append((sprites.wrap(facts, small, room, 1)[0], small, _PALE))
        return sprites.panel(self._size[0], rows, (10, 12, 20, 150))

    def _label(self, picture: Image.Image, index: int, share: float) -> None:
        width, height = self._size
        bar = max(3, height // 120)
        picture.paste(self._panel, (0, height - self._panel.height - bar), self._panel)
        draw = ImageDraw.Draw(picture)
        draw.rectangle((0, height - bar, width, height), fill=(24, 26, 34))
        draw.rectangle((0, height - bar, int(width * share), height), fill=self._colours.subject)
        corner = (width - width // 36, height - self._panel.height - bar - height // 60)
        draw.text(corner, timecode(self._first + index), font=self._clock, fill=_WHITE, anchor="rs")
