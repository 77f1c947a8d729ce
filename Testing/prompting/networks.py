"""Small promptable networks with random weights, of the same making as the published ones."""

from __future__ import annotations

from functools import partial

TINY = "configs/sam2.1/sam2.1_hiera_t.yaml"


def small_sam(seed: int = 0, side: int = 128):
    """SAM with a tiny encoder; its decoder is as large as the published one's parts allow it to be small."""
    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(seed)
    width, grid = 32, side // 16
    encoder = ImageEncoderViT(
        depth=2,
        embed_dim=48,
        img_size=side,
        mlp_ratio=2,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=2,
        patch_size=16,
        use_rel_pos=True,
        global_attn_indexes=(1,),
        window_size=3,
        out_chans=width,
    )
    prompts = PromptEncoder(
        embed_dim=width, image_embedding_size=(grid, grid), input_image_size=(side, side), mask_in_chans=16
    )
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=64, num_heads=2),
        transformer_dim=width,
        iou_head_depth=3,
        iou_head_hidden_dim=32,
    )
    network = Sam(encoder, prompts, decoder)
    for block in encoder.blocks:  # they begin at zero, where a mistake with positions would not show
        torch.nn.init.normal_(block.attn.rel_pos_h, std=0.02)
        torch.nn.init.normal_(block.attn.rel_pos_w, std=0.02)
    torch.nn.init.normal_(encoder.pos_embed, std=0.02)
    return network.eval()


def small_settings(side: int = 64):
    """SAM 2.1 tiny with a smaller encoder, for small images."""
    from SSLSegmentationLib.prompting.sam2_network import settings_of

    settings = settings_of(TINY, side)
    trunk, neck = settings.image_encoder.trunk, settings.image_encoder.neck
    trunk.embed_dim, trunk.stages, trunk.global_att_blocks = 16, [1, 1, 2, 1], [3]
    neck.backbone_channel_list = [128, 64, 32, 16]
    settings.memory_attention.num_layers = 2
    settings.memory_attention.layer.dim_feedforward = 64
    return settings


def small_sam2(seed: int = 0, side: int = 64):
    """A network of `small_settings` in which everything has an effect: a fresh one hardly looks at its memory."""
    import torch
    from hydra.utils import instantiate

    torch.manual_seed(seed)
    network = instantiate(small_settings(side), _recursive_=True).eval().requires_grad_(False)
    torch.nn.init.normal_(network.image_encoder.trunk.pos_embed, std=0.1)
    torch.nn.init.normal_(network.image_encoder.trunk.pos_embed_window, std=0.1)
    for layer in network.memory_encoder.fuser.layers:
        layer.gamma.fill_(0.5)
    network.maskmem_tpos_enc.mul_(20)
    network.memory_encoder.out_proj.weight.mul_(5)
    for layer in network.memory_attention.layers:
        layer.cross_attn_image.v_proj.weight.mul_(5)
        layer.cross_attn_image.q_proj.weight.mul_(5)
        layer.cross_attn_image.out_proj.weight.mul_(5)
    for hyper in network.sam_mask_decoder.output_hypernetworks_mlps:
        hyper.layers[-1].weight.mul_(20)
    network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(0.05)
    return network
