"""Hugging Face datasets: importing this makes `imagefolder` take .vqc files, and the `Image`
feature decode them, with the Pillow plugin.

    import vqcodec.integrations.datasets
    load_dataset("imagefolder", data_dir="coded/")

Its list of extensions is fixed, and the Pillow plugin cannot add to it: it may be imported before
`datasets`, which takes seconds. Processes that are spawned, not forked, import the Pillow plugin
themselves.
"""

from datasets import packaged_modules
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

from .. import pillow_plugin


def register() -> None:
    """Add the extension. Importing this module has done so already."""
    # These say which builder a folder needs, for a path in place of "imagefolder".
    of_builder = getattr(packaged_modules, "_MODULE_TO_EXTENSIONS", {}).get("imagefolder", [])
    everything = getattr(packaged_modules, "_ALL_ALLOWED_EXTENSIONS", [])
    for extension in (pillow_plugin.EXTENSION, pillow_plugin.EXTENSION.upper()):
        getattr(packaged_modules, "_EXTENSION_TO_MODULE", {})[extension] = "imagefolder", {}
        for known in (ImageFolder.EXTENSIONS, of_builder, everything):
            if extension not in known:
                known.append(extension)


register()
