"""From radiance to a photograph: exposure, white balance, glare, a film-like curve, vignette and grain."""

from __future__ import annotations

import cv2
import numpy as np


def develop(radiance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 sRGB of linear radiance (height, width, 3), as a phone's camera would deliver it."""
    height, width = radiance.shape[:2]
    light = radiance @ np.array([0.25, 0.65, 0.1])
    middle = np.exp(np.log(light + 1e-3).mean())
    exposure = min(0.30 / middle, 1.6 / np.percentile(light, 96)) * np.exp(rng.normal(0, 0.12))
    tint = radiance.mean((0, 1))
    balance = (tint.mean() / tint) ** rng.uniform(0.4, 0.8)
    image = radiance * exposure * balance
    glare = cv2.GaussianBlur(np.minimum(image, 8).astype(np.float32), (0, 0), width / 60)
    image = 0.965 * image + 0.035 * glare
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    image = image * (1 - rng.uniform(0.06, 0.16) * (x**2 + y**2))[..., None]
    tone = curve(image * 1.15)
    tone = tone - 0.035 * np.sin(2 * np.pi * tone)
    grain = rng.normal(0, 1, (height, width, 3)) * [1.0, 0.8, 1.3] * 0.5 + rng.normal(0, 1, (height, width, 1))
    grain = cv2.GaussianBlur(grain.astype(np.float32), (0, 0), 0.7)
    tone = tone + rng.uniform(0.004, 0.009) * grain * (1.1 - tone)
    soft = cv2.GaussianBlur(tone.astype(np.float32), (0, 0), 1.1)
    tone = tone + 0.25 * (tone - soft)
    return (tone.clip(0, 1) * 255).round().astype(np.uint8)


def curve(linear: np.ndarray) -> np.ndarray:
    """A film-like response with a shoulder (Narkowicz's fit of ACES, 2016), then sRGB's exponent."""
    x = 0.62 * linear
    film = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)
    return film.clip(0, 1) ** (1 / 2.2)
