"""Published dissimilarities: 92 objects in brains, judgements, models; 37 ImageNet models on three sets of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from repsim_nb.support.errors import check_name
from repsim_nb.support.files import shipped_folder
from repsim_nb.support.rdms import RDM

_MODELS = {
    "animacy": "animacy",
    "faces, bodies, made, natural": "FaceBodyManmadeNatobj",
    "EVA": "EVA",
    "HMAX": "HMAX",
    "V1": "V1",
    "silhouette": "Silhouette",
    "RADON": "RADON",
}


@dataclass(frozen=True, repr=False)
class BrainRDMs:
    """Dissimilarities of 92 images of objects in brains, judgements and models; `brains` reads them.

    All RDMs have the same samples in the same order. Their ids are the names in the index of `stimuli`.

    Attributes
    ----------
    people : {str: RDM}
        Human inferior temporal cortex (IT) by fMRI, the mean of two sessions of each of 4 people. 1 - Pearson
        correlation of the patterns, as for `sessions` and `monkey`.
    sessions : {str: RDM}
        The 8 sessions.
    monkey : RDM
        IT of monkeys, recorded from single cells.
    judgements : {str: RDM}
        What 16 people judged when they arranged the images by similarity on a screen.
    models : {str: RDM}
        Seven models: two of categories, of which "animacy" separates animate from inanimate objects; HMAX, V1,
        silhouette and RADON, computed from the images; and EVA, which its source does not describe.
    stimuli : DataFrame (92, ...)
        The category of each image, and bool columns human, face, animal, natural.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> found = rs.datasets.brains()
    >>> found
    BrainRDMs(92 stimuli: 4 people in 8 sessions, a monkey, 16 people's judgements, 7 models)
    >>> found.stimuli["category"].value_counts().to_dict()["human face"]
    12
    """

    people: dict[str, RDM]
    sessions: dict[str, RDM]
    monkey: RDM
    judgements: dict[str, RDM]
    models: dict[str, RDM]
    stimuli: pd.DataFrame

    def __repr__(self) -> str:
        """Return the numbers of stimuli, people, judgements and models as text."""
        return (
            f"BrainRDMs({len(self.stimuli)} stimuli: {len(self.people)} people in {len(self.sessions)} sessions,"
            f" a monkey, {len(self.judgements)} people's judgements, {len(self.models)} models)"
        )


def brains() -> BrainRDMs:
    """Read dissimilarities of 92 images of objects: in human and monkey IT, as people judge them, and in models.

    Returns
    -------
    BrainRDMs
        `people`, `sessions`, `monkey`, `judgements`, `models`: RDMs with the same ids; `stimuli`: what they are.

    Notes
    -----
    The images are not part of it, since their terms are not stated. The mean of `people` is the group RDM of
    the papers.

    References
    ----------
    Kriegeskorte, Mur, Ruff, Kiani, Bodurka, Esteky, Tanaka, Bandettini 2008, "Matching categorical object
    representations in inferior temporal cortex of man and monkey", Neuron 60.
    Mur, Meys, Bodurka, Goebel, Bandettini, Kriegeskorte 2013, "Human object-similarity judgments reflect and transcend
    the primate-IT object representation", Frontiers in Psychology 4. The files are those of rsatoolbox, MIT licence.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> found = rs.datasets.brains()
    >>> round(rs.measures.get("rsa")(found.monkey, found.people["person 1"]), 2)
    0.34
    """
    with np.load(shipped_folder("data") / "brains" / "rdms_92_objects.npz") as file:
        found = {name: file[name] for name in file.files}
    category = pd.Series([str(name) for name in found["category"]])
    order = category.groupby(category).cumcount() + 1
    names = pd.Index([f"{name} {k}" for name, k in zip(category, order, strict=True)], name="stimulus")
    ids = names.to_numpy(str)
    stimuli = pd.DataFrame(
        {str(name): flag.astype(bool) for name, flag in zip(found["flag_names"], found["flags"].T, strict=True)},
        index=names,
    )
    stimuli.insert(0, "category", category.to_numpy())
    human = found["human_it"].astype(float)
    models = dict(zip(found["model_names"].tolist(), found["models"], strict=True))
    return BrainRDMs(
        people={f"person {k + 1}": RDM(one.mean(axis=0), ids, squared=True) for k, one in enumerate(human)},
        sessions={
            f"person {k + 1}, session {s + 1}": RDM(one, ids, squared=True)
            for k, person in enumerate(human)
            for s, one in enumerate(person)
        },
        monkey=RDM(found["monkey_it"].astype(float), ids, squared=True),
        judgements={f"judge {k + 1}": RDM(one.astype(float), ids) for k, one in enumerate(found["behaviour"])},
        models={name: RDM(models[key].astype(float), ids) for name, key in _MODELS.items()},
        stimuli=stimuli,
    )


IMAGENET_SETS = {"imagenet": "train", "mnist": "mnist", "faces": "utk_face"}
IMAGENET_MEASURES = {
    "CKA": "lin_cka_dist",
    "Procrustes": "procrustes",
    "PWCCA": "pwcca_dist_e2e",
    "mean CCA": "mean_cca_e2e",
    "mean squared CCA": "mean_sq_cca_e2e",
    "GULP, ridge 0": "predictor_dist_0.0",
    "GULP, ridge .01": "predictor_dist_0.01",
    "GULP, ridge 1": "predictor_dist_1.0",
    "GULP, ridge 100": "predictor_dist_100.0",
}
_FAMILIES = {
    "convnext": "convnext",
    "efficientnet": "efficientnet",
    "regnet": "regnet",
    "mobilenet": "mobilenet",
    "mnasnet": "mobilenet",
    "resnet": "residual",
    "resnext": "residual",
    "wide": "residual",
    "googlenet": "inception",
    "inception": "inception",
    "alexnet": "plain",
    "vgg": "plain",
}
# the inputs of the last linear layer in torchvision, in the order of the names in the file
_FEATURES = (
    *(4096, 1024, 1536, 768, 768),
    *(1280, 1280, 1408, 1536, 1792, 2048, 2304, 2560),
    *(1024, 2048, 1280, 1280, 1280, 1024),
    *(2048, 912, 2520, 1008, 400, 672, 1920),
    *(3024, 888, 3712, 1512, 440, 784, 2016),
    *(512, 2048, 4096, 2048),
)


def imagenet_distances(images: str = "imagenet", measure: str = "CKA") -> pd.DataFrame:
    """Read published distances between 37 torchvision models that were trained on ImageNet.

    Parameters
    ----------
    images : {"imagenet", "mnist", "faces"}
        The images that the models saw; "faces" are those of UTKFace.
    measure : str
        "CKA" (1 - CKA), "Procrustes" (squared), "PWCCA", "mean CCA", "mean squared CCA" (1 - the mean), or "GULP, ridge
        0" and the same with .01, 1 and 100.

    Returns
    -------
    DataFrame (37, 37)
        Symmetric, with zeros on the diagonal; rows and columns are called "model".

    Raises
    ------
    ValueError
        For an unknown set of images or measure.

    References
    ----------
    E. Boix-Adserà, H. Lawrence, G. Stepaniants, P. Rigollet 2022, "GULP: a prediction-based metric between
    representations", NeurIPS; their distances, MIT licence.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> float(rs.datasets.imagenet_distances("mnist", "CKA").loc["resnet18", "vgg16"].round(2))
    0.25
    """
    check_name("set of images", images, IMAGENET_SETS)
    check_name("measure of these distances", measure, IMAGENET_MEASURES)
    with np.load(shipped_folder("data") / "imagenet_maps" / "imagenet_37_networks.npz") as found:
        names = pd.Index([str(name) for name in found["names"]], name="model")
        table = np.zeros((len(names), len(names)))
        table[np.triu_indices(len(names), 1)] = found[f"{IMAGENET_SETS[images]}/{IMAGENET_MEASURES[measure]}"]
    return pd.DataFrame(table + table.T, index=names, columns=names)


def imagenet_models() -> pd.DataFrame:
    """List the 37 models of `imagenet_distances`: the family of each and the number of its features.

    Returns
    -------
    DataFrame (37, 2)
        family: convnext, efficientnet, regnet, mobilenet, residual, inception or plain (AlexNet, VGG). features: the
        width of the layer before the classifier, which was compared.

    Notes
    -----
    The widths are those of torchvision. The published distances agree with them: without a ridge, GULP is the number
    of features of both models minus twice the sum of the squared canonical correlations.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rs.datasets.imagenet_models().loc[["resnet18", "vgg16"], "features"].to_dict()
    {'resnet18': 512, 'vgg16': 4096}
    """
    names = imagenet_distances().index
    families = [next(family for start, family in _FAMILIES.items() if name.startswith(start)) for name in names]
    return pd.DataFrame({"family": families, "features": _FEATURES}, index=names)
