"""The graph of a spotter that listens to a stream: some sound and a state in, answers and the next state out.

Every layer keeps the same number of past frames, so that one concatenation and one slice make the next state of all
layers. A state of zeros is the zero padding before the first frame: the answers are those of the trained module for the
whole sound, however it is cut.

Legend: B batch, n frames of a call, C channels, M mel bins, K keywords, R rows of the state, H frames that it keeps, W
frames of the mean.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.graph import FlatBlock, convolution_1d


class StreamingGraph(nn.Module):
    """A trained streaming BC-ResNet in evaluation mode, its normalisations folded, with its past as an argument.

    Attributes:
        state_shape: (R, H) of one stream's state; zeros at its beginning.
        memory_frames: after so many frames nothing of a sound is left in the state.

    Shape:
        waveform (B, hop n), state (B, R, H) to probabilities (B, n, K), logits (B, n, K), next state (B, R, H).
    """

    @torch.no_grad()
    def __init__(self, spotter: SpotterModule):
        super().__init__()
        self.frontend, network = spotter.frontend, spotter.backbone
        _, convolution, norm, _ = network.stem
        stem = fuse_conv_bn_eval(convolution, norm)
        stem.padding = (stem.kernel_size[0] // 2, 0)
        self.stem = stem
        rows = -(-self.frontend.n_mels // stem.stride[0])
        blocks = []
        for block in network.blocks:
            blocks.append(FlatBlock(block, rows))
            rows = blocks[-1].rows_out
        self.blocks = nn.ModuleList(blocks)
        _, depthwise, pointwise, norm, _, classifier = network.head
        self.depthwise = convolution_1d(depthwise.weight.squeeze(1), groups=depthwise.groups)
        hidden = fuse_conv_bn_eval(pointwise, norm)
        self.hidden = convolution_1d(hidden.weight.squeeze(-1), hidden.bias)
        self.classifier = convolution_1d(classifier.weight.squeeze(-1), classifier.bias)
        self.mean_frames = network.mean_frames

        # Frames that each layer needs of its past, in the order of the rows of the state.
        self.stem_history = stem.kernel_size[1] - 1
        self.block_histories = [block.history_frames for block in network.blocks]
        self.head_history = depthwise.kernel_size[1] - 1
        histories = [self.stem_history, *self.block_histories, self.head_history]
        self.kept = max(histories)
        layer_rows = [self.frontend.n_mels, *(block.channels for block in blocks)]
        layer_rows.append(self.depthwise.in_channels)
        waveform_rows = exact_rows(self.frontend.history_samples, self.kept, "window - hop samples")
        past_logits = classifier.out_channels * (self.mean_frames - 1)
        logit_rows = exact_rows(past_logits, self.kept, "keywords x (mean_frames - 1)")
        self.rows = [waveform_rows, *layer_rows, logit_rows]
        self.state_shape = (sum(self.rows), self.kept)
        window_frames = -(-self.frontend.history_samples // self.frontend.hop_samples)
        self.memory_frames = window_frames + sum(histories) + self.mean_frames - 1

    def forward(self, waveform: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        past_sound, *past_layers, past_logits = state.split(self.rows, dim=1)
        batch = waveform.shape[0]
        sound = torch.cat(
            [past_sound.reshape(batch, self.frontend.history_samples), waveform], dim=1
        )
        log_mel = self.frontend.log_mel(self.frontend.cut_frames(sound)).squeeze(1)  # (B, M, n)
        inputs = [log_mel]
        extended = self._extend(past_layers[0], log_mel, self.stem_history)
        rows = functional.relu(self.stem(extended.unsqueeze(1))).flatten(1, 2)
        for block, past, n_frames in zip(self.blocks, past_layers[1:-1], self.block_histories):
            rows = block.expanded(rows)
            pooled = block.pool(rows)
            inputs.append(pooled)
            rows = block.combined(rows, self._extend(past, pooled, n_frames))
        inputs.append(rows)
        hidden = self.depthwise(self._extend(past_layers[-1], rows, self.head_history))
        frame_logits = self.classifier(functional.relu(self.hidden(hidden)))  # (B, K, n)

        all_logits = torch.cat(
            [past_logits.reshape(batch, -1, self.mean_frames - 1), frame_logits], dim=2
        )
        logits = functional.avg_pool1d(all_logits, self.mean_frames, stride=1).transpose(1, 2)
        layers = torch.cat([torch.cat(past_layers, dim=1), torch.cat(inputs, dim=1)], dim=2)
        next_state = torch.cat(
            [
                sound[:, -self.frontend.history_samples :].reshape(batch, -1, self.kept),
                layers[:, :, -self.kept :],
                all_logits[:, :, -(self.mean_frames - 1) :].reshape(batch, -1, self.kept),
            ],
            dim=1,
        )
        return logits.softmax(dim=2), logits, next_state

    def _extend(self, past: Tensor, rows: Tensor, n_frames: int) -> Tensor:
        return torch.cat([past[:, :, self.kept - n_frames :], rows], dim=2)


def exact_rows(values: int, kept: int, what: str) -> int:
    """Rows of a state that hold so many values."""
    if values % kept:
        raise ValueError(
            f"expected {what} to be a multiple of {kept}, the frames of the state, got {values}"
        )
    return values // kept
