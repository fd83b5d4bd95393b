"""Files that outlive a training: tensors, and what they are of, in the format safetensors."""
