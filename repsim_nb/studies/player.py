"""A small player of pictures for notebooks and reports: HTML that needs no kernel, and works offline."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence

import numpy as np
from PIL import Image

_PAGE = """<div style="max-width:{width}px" data-player>
<img alt="{first}" src="{source}" style="width:100%;image-rendering:pixelated"/>
<div style="display:flex;gap:.5em;align-items:baseline">
<button type="button" aria-label="play or pause" style="min-width:2.5em">▶</button>
<input type="range" min="0" max="{last}" value="0" aria-label="step" style="flex:1"/></div>
<div style="font-size:90%">{first}</div>
<script>(() => {{
  const box = document.currentScript.closest("[data-player]"), [image, , text] = box.children;
  const [button, slider] = box.children[1].children, frames = {frames}, captions = {captions};
  let timer = null;
  const show = () => {{
    image.src = frames[slider.value];
    image.alt = text.textContent = captions[slider.value];
  }};
  const stop = () => {{ clearInterval(timer); timer = null; button.textContent = "▶"; }};
  slider.oninput = show;
  button.onclick = () => {{
    if (timer) return stop();
    if (+slider.value === frames.length - 1) slider.value = 0;
    button.textContent = "❚❚";
    timer = setInterval(() => {{
      if (+slider.value === frames.length - 1) return stop();
      slider.value = +slider.value + 1;
      show();
    }}, {interval});
    show();
  }};
}})();</script></div>"""


def make_player(frames: Sequence[np.ndarray], captions: Sequence[str], *, width: int = 220, interval: int = 400) -> str:
    """Return HTML that plays pictures, with a slider.

    Parameters
    ----------
    frames : sequence of ndarray (height, width, 3) of uint8
        The pictures.
    captions : sequence of str
        A line of text for each picture.
    width : int
        The width on the page, in pixels.
    interval : int
        Milliseconds between two pictures.

    Returns
    -------
    str
        For `IPython.display.HTML`.

    Raises
    ------
    ValueError
        If there are no pictures, or another number of captions.

    Examples
    --------
    >>> from repsim_nb.studies.player import make_player
    >>> shown = make_player([np.zeros((4, 4, 3), np.uint8)] * 2, ["1: left", "2: right"])
    >>> shown.count("data:image/png"), "1: left" in shown
    (3, True)
    """
    if not len(frames) or len(frames) != len(captions):
        raise ValueError(
            f"a player needs at least one picture, and a caption for each; got {len(frames)} and {len(captions)}"
        )
    sources = [_address(frame) for frame in frames]
    texts = json.dumps(list(captions)).replace("<", "\\u003c")
    return _PAGE.format(
        width=width,
        first=html.escape(captions[0], quote=True),
        source=sources[0],
        last=len(frames) - 1,
        frames=json.dumps(sources),
        captions=texts,
        interval=interval,
    )


def _address(frame: np.ndarray) -> str:
    """Return a picture as the address of a PNG."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
