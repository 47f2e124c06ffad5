"""When Python looks for garbage."""

import gc

import pytest

from ostoja.kernel.memory import undisturbed


def test_nothing_is_searched_while_any_batch_is_under_way():
    assert gc.isenabled()
    with undisturbed():
        with undisturbed():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_is_searched_again_after_a_batch_that_failed():
    with pytest.raises(ValueError), undisturbed():
        raise ValueError
    assert gc.isenabled()
