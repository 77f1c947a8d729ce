"""What the module says about itself in its help."""

from slicer.i18n import tr as _

from SSLSegmentationUI.Shortcuts import asHelp

PAGE = "https://github.com/SSLSegmentation/SlicerSSLSegmentation/blob/main/docs/in-slicer.md"
CONTRIBUTORS = ["The SSLSegmentation developers"]
ACKNOWLEDGEMENT = _(
    "Built on 3D Slicer, PyTorch and MONAI. Prompts are answered by Segment Anything, MedSAM or SAM 2 where the user"
    " has installed them; each model's own licence is shown before it is downloaded."
)


def helpText() -> str:
    introduction = _(
        "Segment a scan, see where the model is unsure, correct it with clicks on any slice, spread a good slice, and"
        " accept or reject every change before it is made. For research use, not a medical device."
    )
    page = _('A tutorial is in the <a href="{page}">documentation</a>.').format(page=PAGE)
    keys = _("While the module is shown, these keys work:")
    return f"<p>{introduction}</p><p>{page}</p><p>{keys}</p>{asHelp()}"
