"""What opening costs, whatever the number of copies in the files."""

import pytest
import sized_model


@pytest.mark.parametrize("files", [sized_model.FILES, sized_model.FILES[:2]])
def test_the_peak_is_little_above_the_weights_however_many_copies_the_files_hold(tmp_path, files):
    folder = tmp_path / "model"
    weights = sized_model.make(folder, vocab_size=24000, d_model=512, files=files)
    held = sum(path.stat().st_size for path in folder.glob("*_data"))
    assert held > (2 if len(files) == 3 else 1.4) * weights
    _, grown = sized_model.opened(folder)
    # A model of 98 MB; the code and its buffers take some MB whatever the size.
    limit = 1.15 * weights + (8 << 20)
    assert grown < limit, f"{grown >> 20} MiB for {weights >> 20} MiB of weights"
