"""What forked commands find there: all they would import, and the noise that scenes are made of."""

import imgtrans_cyclegan  # noqa: F401
import imgtrans_metrics  # noqa: F401
import numpy.ctypeslib  # noqa: F401
import PIL.PngImagePlugin  # noqa: F401
import torch._dynamo  # noqa: F401
from imgtrans_seasons.scenes import draw

import imgtrans.cli.training
import imgtrans.pictures
import imgtrans.running  # noqa: F401

draw(0, 0, 32, 32)
