"""Which networks a test is about: those with numbers of TF-Slim's own, and the AlexNets' kin."""

import pathlib

from nets.nets_factory import networks

TF_SLIM_FACTS = {
    path.stem: path
    for path in sorted((pathlib.Path(__file__).parent / "nets" / "tf_slim").glob("*.json"))
}
# Here, because tests register networks of their own. `alexnet_v2` is among them.
ALEXNETS = [name for name in networks if name not in TF_SLIM_FACTS]
