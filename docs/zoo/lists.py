"""The models of the coverage page: which there are, and which are convolutional.

torchvision's are all taken. timm has some 1,500 entries in about a hundred modules, one for each
family; every module is named in one of the two tables below, and `unlisted` tells of new ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from fullconv.models.torchvision_import import import_timm, import_torchvision

TRANSFORMER = "vision transformer: attention over the positions of the window"
HYBRID = "convolutions with attention over positions"
RECURRENT = "an LSTM over the rows and columns of the window"
MIXER = "fully-connected layers across the positions of the window"
STATE_SPACE = "a state space over the positions of the window"

TORCHVISION_TRANSFORMERS = ("vit_", "swin_", "maxvit_", "mvit_", "swin3d_")
"""Beginnings of torchvision's names that are no convolutional networks."""

CLIP = 16
"""Frames that torchvision's video networks were trained on (`clip_len` of their recipe)."""

CONVOLUTIONAL: dict[str, str] = {
    # timm module: its smallest network, then one for every other build the module has
    "byobnet": "resnet32ts gernet_s repvgg_a0 repvgg_d2se mobileone_s0 mobileone_s4 resnet51q "
    "resnet50_mlp resnet50_clip_gap resnext26ts seresnet33ts eca_resnet33ts eca_resnext26ts "
    "gcresnet33ts gcresnet50t gcresnext26ts regnetz_b16 regnetz_b16_evos regnetz_d8 test_byobnet",
    "convmixer": "convmixer_1024_20_ks9_p14 convmixer_768_32",
    "convnext": "convnext_zepto_rms convnext_zepto_rms_ols convnext_atto convnext_atto_ols "
    "convnext_atto_rms convnext_tiny convnext_tiny_hnf convnext_large_mlp convnextv2_atto "
    "test_convnext test_convnext2 test_convnext3",
    "cspnet": "cs3darknet_focus_s cs3darknet_s cs3edgenet_x cs3se_edgenet_x cs3sedarknet_l "
    "cspdarknet53 cspresnet50 cspresnet50d cspresnet50w cspresnext50 darknet17 darknetaa53 "
    "sedarknet21",
    "cspnext": "cspnext_tiny cspnext_s",
    "densenet": "densenet121 densenetblur121d densenet264d",
    "dla": "dla46x_c dla34 dla46_c dla60 dla60_res2net dla60_res2next dla60x",
    "dpn": "dpn48b dpn68 dpn68b dpn92",
    "efficientnet": "mnasnet_small mnasnet_100 semnasnet_100 spnasnet_100 fbnetc_100 "
    "mobilenetv1_100 mobilenetv1_100h mobilenetv2_035 mobilenetv2_110d mobilenet_edgetpu_100 "
    "mobilenet_edgetpu_v2_xs efficientnet_b0 efficientnet_b0_gn efficientnet_b0_g8_gn "
    "efficientnet_b0_g16_evos efficientnet_b1_pruned efficientnet_blur_b0 efficientnet_cc_b0_4e "
    "efficientnet_es efficientnet_lite0 efficientnet_h_b5 efficientnet_x_b3 efficientnetv2_rw_t "
    "efficientnetv2_s gc_efficientnetv2_rw_t mixnet_s tinynet_a tinynet_e tf_efficientnet_b0 "
    "tf_efficientnet_cc_b0_4e tf_efficientnet_el tf_efficientnet_lite0 tf_efficientnetv2_b0 "
    "tf_mixnet_s test_efficientnet test_efficientnet_evos test_efficientnet_gn "
    "test_efficientnet_ln",
    "fasternet": "fasternet_t0 fasternet_s",
    "fastvit": "fastvit_t8 fastvit_s12",
    "focalnet": "focalnet_tiny_srf focalnet_tiny_lrf focalnet_large_fl3",
    "ghostnet": "ghostnet_050 ghostnetv2_100 ghostnetv3_050",
    "hardcorenas": "hardcorenas_a",
    "hgnet": "hgnetv2_b0 hgnetv2_b4 hgnet_tiny hgnet_base",
    "hrnet": "hrnet_w18_small hrnet_w18 hrnet_w18_ssld",
    "inception_next": "inception_next_atto inception_next_tiny",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small lcnetv2_base",
    "mambaout": "test_mambaout mambaout_femto mambaout_kobe mambaout_small_rw",
    "metaformer": "poolformer_s12 poolformerv2_s12 convformer_s18",
    "mobilenetv3": "lcnet_035 lcnet_100 mobilenetv3_small_050 mobilenetv3_large_100 "
    "mobilenetv3_large_150d mobilenetv3_rw fbnetv3_b mobilenetv4_conv_small_035 "
    "mobilenetv4_conv_small mobilenetv4_conv_aa_medium mobilenetv4_conv_blur_medium "
    "tf_mobilenetv3_small_075 tf_mobilenetv3_large_minimal_100",
    "nasnet": "nasnetalarge",
    "nfnet": "test_nfnet nf_regnet_b0 nf_resnet26 nf_ecaresnet26 nf_seresnet26 nfnet_l0 "
    "eca_nfnet_l0 nfnet_f0 dm_nfnet_f0",
    "pnasnet": "pnasnet5large",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002 regnetx_004_tv regnety_002 regnety_008_tv regnety_040_sgn regnetv_040 "
    "regnetz_005 regnetz_040_h",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m0_9 repvit_m1 repvit_m2",
    "res2net": "res2net50_14w_8s res2net50_26w_4s res2net50d res2next50",
    "resnest": "resnest14d resnest50d_1s4x24d resnest50d_4s2x40d",
    "resnet": "test_resnet resnet10t resnet18 resnet18d resnet26t resnet34 resnet50 resnet50_gn "
    "resnet50c resnet50s resnetaa50 resnetblur18 resnetblur50 resnetrs50 resnext50_32x4d "
    "resnext50d_32x4d wide_resnet50_2 seresnet18 seresnet50 seresnet50t seresnetaa50d "
    "seresnext26t_32x4d senet154 ecaresnet26t ecaresnet50d_pruned ecaresnetlight "
    "ecaresnext26t_32x4d",
    "resnetv2": "resnetv2_18 resnetv2_18d resnetv2_50 resnetv2_50d_evos resnetv2_50d_frn "
    "resnetv2_50d_gn resnetv2_50t resnetv2_50x1_bit",
    "rexnet": "rexnet_100 rexnetr_100",
    "selecsls": "selecsls42 selecsls42b selecsls84",
    "senet": "legacy_seresnet18 legacy_seresnet50 legacy_seresnext26_32x4d legacy_senet154",
    "sknet": "skresnet18 skresnet50 skresnet50d skresnext50_32x4d",
    "starnet": "starnet_s050 starnet_s1",
    "tresnet": "tresnet_m tresnet_v2_l",
    "vgg": "vgg11 vgg11_bn",
    "vovnet": "ese_vovnet19b_slim_dw ese_vovnet19b_dw ese_vovnet39b ese_vovnet39b_evos "
    "eca_vovnet39b vovnet39a",
    "xception": "legacy_xception",
    "xception_aligned": "xception41 xception41p",
}

NOT_CONVOLUTIONAL: dict[str, dict[str, str]] = {
    # what they are: {timm module: a small network of it}
    TRANSFORMER: {
        "beit": "beit_base_patch16_224",
        "cait": "cait_xxs24_224",
        "coat": "coat_lite_tiny",
        "convit": "convit_tiny",
        "crossvit": "crossvit_9_240",
        "davit": "davit_tiny",
        "deepseek_vit": "deepseek_vit_412m",
        "deit": "deit_tiny_patch16_224",
        "eva": "eva02_tiny_patch14_224",
        "gcvit": "gcvit_xxtiny",
        "gemma4_vit": "gemma4_vit_167m",
        "hiera": "hiera_tiny_224",
        "hieradet_sam2": "sam2_hiera_tiny",
        "levit": "levit_128s",
        "mvitv2": "mvitv2_tiny",
        "naflexvit": "naflexvit_base_patch16_gap",
        "nest": "nest_tiny",
        "pit": "pit_ti_224",
        "pvt_v2": "pvt_v2_b0",
        "qwen3_vit": "qwen3_vit_88m",
        "swin_transformer": "swin_tiny_patch4_window7_224",
        "swin_transformer_v2": "swinv2_tiny_window8_256",
        "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
        "tiny_vit": "tiny_vit_5m_224",
        "tnt": "tnt_s_patch16_224",
        "twins": "twins_svt_small",
        "vision_transformer": "test_vit",
        "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
        "vision_transformer_relpos": "test_vit_relpos",
        "vision_transformer_sam": "samvit_base_patch16_224",
        "vitamin": "vitamin_small_224",
        "volo": "volo_d1_224",
        "xcit": "xcit_nano_12_p16_224",
    },
    HYBRID: {
        "byoanet": "lambda_resnet26t",
        "cpubone": "cpubone_nano",
        "csatv2": "csatv2",
        "edgenext": "edgenext_xx_small",
        "efficientformer": "efficientformer_l1",
        "efficientformer_v2": "efficientformerv2_s0",
        "efficientvit_mit": "efficientvit_b0",
        "efficientvit_msra": "efficientvit_m0",
        "iformer": "iformer_t",
        "lowformer": "lowformer_b0",
        "maxxvit": "test_coatnet",
        "mobilenetv5": "mobilenetv5_base",
        "mobilevit": "mobilevit_xxs",
        "nextvit": "nextvit_small",
        "shvit": "shvit_s1",
        "swiftformer": "swiftformer_xs",
        "visformer": "visformer_tiny",
    },
    MIXER: {"mlp_mixer": "gmlp_ti16_224"},
    RECURRENT: {"sequencer": "sequencer2d_s"},
    STATE_SPACE: {"efficientvim": "efficientvim_m1"},
}

ATTENTION_BUILDS: dict[str, str] = {
    # builds with attention over positions, in modules that are otherwise convolutional
    "byobnet": "bat_resnext26ts resnet50_clip",
    "fastvit": "fastvit_sa12",
    "metaformer": "caformer_s18",
    "mobilenetv3": "mobilenetv4_hybrid_medium",
}


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the page: the MODEL word of it, the file it comes from, what it is if no CNN."""

    form: str
    family: str
    other: str = ""

    @property
    def library(self) -> str:
        """`torchvision` or `timm`."""
        return self.form.partition(":")[0]

    @property
    def name(self) -> str:
        """The library's own name for it."""
        return self.form.partition(":")[2]


def models() -> list[Model]:
    """All of them, torchvision first, by family and name."""
    return [*torchvision_models(), *timm_models()]


def torchvision_models() -> list[Model]:
    """Every classifier of images or videos that torchvision has, but for quantized ones."""
    library = import_torchvision().models
    names = [*library.list_models(module=library), *library.list_models(module=library.video)]
    found = []
    for name in names:
        family = library.get_model_builder(name).__module__.removeprefix("torchvision.models.")
        other = TRANSFORMER if name.startswith(TORCHVISION_TRANSFORMERS) else ""
        found.append(Model(f"torchvision:{name}", family, other))
    # Of the transformers one per family: they are all refused, for the same reason.
    first = {model.family: model for model in reversed(found) if model.other}
    return sorted(
        (m for m in found if not m.other or first[m.family] is m), key=lambda m: (m.family, m.name)
    )


def timm_models() -> list[Model]:
    """The networks of the tables above."""
    kinds = [
        *((names, family, "") for family, names in CONVOLUTIONAL.items()),
        *((names, family, HYBRID) for family, names in ATTENTION_BUILDS.items()),
        *(
            (name, family, kind)
            for kind, modules in NOT_CONVOLUTIONAL.items()
            for family, name in modules.items()
        ),
    ]
    found = [
        Model(f"timm:{name}", family, other)
        for names, family, other in kinds
        for name in names.split()
    ]
    return sorted(found, key=lambda model: (model.family, model.name))


def unlisted() -> list[str]:
    """What timm has and the tables have not, or the other way round, in words."""
    timm = import_timm()
    listed = {*CONVOLUTIONAL, *(m for modules in NOT_CONVOLUTIONAL.values() for m in modules)}
    there = set(timm.list_modules())
    problems = [f"timm module {name}: in no table of {__file__}" for name in there - listed]
    problems += [f"timm module {name}: listed, but timm has none" for name in listed - there]
    for model in timm_models():
        if model.family in there and model.name not in timm.list_models(module=model.family):
            problems.append(f"timm:{model.name}: not in timm's module {model.family}")
    return sorted(problems)


def frames(name: str) -> tuple[int, ...]:
    """`(CLIP,)` for a video network of torchvision, whose windows are 3-D; else nothing."""
    library = import_torchvision().models
    return (CLIP,) if name in library.list_models(module=library.video) else ()
