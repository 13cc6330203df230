"""Every network by name, for jaxcv summary: no data, no task. Without a name it is ResNet-50.

jaxcv summary --config=networks:resnet50
jaxcv summary --config=networks:unet --config.model.width=32 --config.image='(256,256,3)'
jaxcv summary --config=networks:pool_upsample --connections
"""

from ml_collections import ConfigDict

from jaxcv.configs import base

SMALL, GREY, USUAL, TILE = (32, 32, 3), (32, 32, 1), (224, 224, 3), (256, 256, 3)  # px, px, channels
NETWORKS = {  # name -> the model, and an image of the size it was made for
    "basenet": ({"name": "basenet", "num_classes": 10, "channels": (6, 12), "hidden": (12,)}, (28, 28, 1)),
    "alexnet": ({"name": "alexnet", "num_classes": 1000}, USUAL),
    **{
        f"vgg{depth}{'_bn' if norm else ''}": ({"name": "vgg", "depth": depth, "batch_norm": norm}, USUAL)
        for depth in (11, 13, 16, 19)
        for norm in (False, True)
    },
    **{
        f"resnet{depth}": ({"name": "resnet", "depth": depth, "stem": "imagenet", "width": 64}, USUAL)
        for depth in (18, 34, 50, 101, 152)
    },
    "resnet18_small": ({"name": "resnet", "depth": 18, "stem": "small", "width": 64, "num_classes": 10}, SMALL),
    **{
        f"efficientnet_b{i}": ({"name": "efficientnet", "variant": f"b{i}"}, (size, size, 3))
        for i, size in enumerate((224, 240, 288, 300, 380, 456, 528, 600))
    },
    "fcn32s": ({"name": "fcn32s", "num_classes": 7, "width": 64, "hidden": 4096}, TILE),
    "fcn16s": ({"name": "fcn16s", "num_classes": 7, "width": 64, "hidden": 4096}, TILE),
    "fcn8s": ({"name": "fcn8s", "num_classes": 11, "width": 64, "skips": True}, (352, 480, 3)),
    "resnet_fcn": ({"name": "resnet_fcn", "num_classes": 6, "hidden": (256, 128), "last_dilation": 1}, USUAL),
    "deeplabv3_resnet50": ({"name": "deeplabv3", "depth": 50, "num_classes": 21, "aux": True}, (520, 520, 3)),
    "deeplabv3_resnet101": ({"name": "deeplabv3", "depth": 101, "num_classes": 21, "aux": True}, (520, 520, 3)),
    "unet": ({"name": "unet", "depth": 4, "num_classes": 2, "width": 64}, TILE),
    "pool_upsample": ({"name": "pool_upsample", "num_classes": 24, "width": 32, "kernel": 3}, GREY),
    "conv_transpose": ({"name": "conv_transpose", "num_classes": 24, "width": 32, "kernel": 3, "skips": False}, GREY),
}


def network(name: str):
    """The variant that shows a network and an image of the size it was made for."""

    def apply(config: ConfigDict) -> None:
        model, config.image = NETWORKS[name]
        base.replace(config, model=model)

    return apply


def resnet50() -> ConfigDict:
    """ResNet-50, and what the memory of its training depends on."""
    optim = {"name": "adam", "weight_decay": 0.0, "clip_norm": 0.0, "ema_decay": 0.0, "freeze": ()}
    config = ConfigDict({"optim": optim, "train": {"batch_size": 32}})  # images
    network("resnet50")(config)
    return config


VARIANTS = {name: network(name) for name in NETWORKS}
get_config = base.variants(__file__, resnet50, VARIANTS)
