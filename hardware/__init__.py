"""Camera and lamp board, with the fakes that ship; knows nothing of officials."""
