import copy
import pickle

import numpy as np

from speech_commands_kws.models.cpu_training.workspace import Workspace


def test_an_array_that_was_given_back_is_taken_again():
    workspace = Workspace()
    array = workspace.take((2, 3), np.float32)
    workspace.give(array)
    assert workspace.take((2, 3), np.dtype("float32")) is array
    assert workspace.take((2, 3), np.float32) is not array


def test_shape_and_type_are_as_asked():
    workspace = Workspace()
    workspace.give(np.empty((2, 3), np.float32))
    assert workspace.take((3, 2), np.float32).shape == (3, 2)
    assert workspace.take((2, 3), np.float64).dtype == np.float64


def test_a_copy_begins_empty():
    workspace = Workspace()
    workspace.give(np.empty((2, 3), np.float32))
    for copied in (copy.deepcopy(workspace), pickle.loads(pickle.dumps(workspace))):
        assert isinstance(copied, Workspace) and not copied.free
