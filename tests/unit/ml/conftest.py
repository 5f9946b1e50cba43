import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small lose more by sharing their work than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
