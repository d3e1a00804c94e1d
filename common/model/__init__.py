"""A trained model as a thing of its own: a folder that anybody loads, checks and encodes with.

    from common.model import load_model

    model = load_model(Path("model"))
    codes = model.encode_texts(["small left pleural effusion"])

Loading needs PyTorch and neither Flower, nor Opacus, nor OmegaConf.
"""

from common.model.load import load_model
from common.model.model import Encoded, Model

__all__ = ["Encoded", "Model", "load_model"]
