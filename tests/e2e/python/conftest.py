"""Fixtures: a fake Anthropic, and a Chamberlain in front of it."""

import pytest
from house import House, Mock, real_looking_key


@pytest.fixture(scope="session")
def mock(tmp_path_factory):
    process = Mock(tmp_path_factory.mktemp("mock"))
    yield process
    process.stop()


@pytest.fixture
def own_mock(tmp_path):
    process = Mock(tmp_path)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def house(tmp_path_factory, mock):
    """One house for the tests of a module that do not disturb each other."""
    process = House(tmp_path_factory.mktemp("house"), upstream=mock.url, key=real_looking_key())
    yield process
    assert process.stop() == 0


@pytest.fixture
def own_house(tmp_path, own_mock):
    """A house of the test's own, with a mock of its own."""
    process = House(tmp_path, upstream=own_mock.url, key=real_looking_key())
    yield process
    if process.child.poll() is None:
        assert process.stop() == 0
