"""Small promptable networks with random weights, of the same making as the published ones."""

from __future__ import annotations

from functools import partial


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
