"""The published way of training and inference, from plain transformers calls: the yardstick.

Written from the description of what the authors' release does, with its beam counts: every input
is repeated per beam before the encoder, search is over free text, attention is eager, the graph
is propagated in COO form through autograd, all in float32. Same weights as ours.
"""

import torch
from transformers.modeling_outputs import BaseModelOutput

from modules.loader.batches import Batch
from modules.loader.evaluation_set import EvaluationSet
from modules.model.elmrec import ELMRec
from modules.tasks import Task, WholeWords

BEAMS = {Task.SEQUENTIAL: 30, Task.DIRECT: 20, Task.EXPLANATION: 21}
MAX_LENGTH = 50
MIN_LENGTH = {Task.SEQUENTIAL: 0, Task.DIRECT: 0, Task.EXPLANATION: 10}


def generate(model: ELMRec, batch: Batch) -> torch.Tensor:
    """Free-text beams of a batch: (B, tokens) of the best beam, transformers' ``generate``."""
    beams = BEAMS[batch.task]
    repeated = batch.each(lambda x: x.repeat_interleave(beams, dim=0))
    embeds, mask = model.embed(repeated)
    states = model.t5.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
    # generate() repeats what it is given; the repeated rows are equal, so hand over one of each.
    return model.t5.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=states[::beams].contiguous()),
        attention_mask=mask[::beams],
        num_beams=beams,
        max_length=MAX_LENGTH,
        min_length=MIN_LENGTH[batch.task],
        early_stopping=True,
    )


@torch.no_grad()
def evaluate(model: ELMRec, samples: EvaluationSet) -> None:
    """``generate`` for all samples."""
    model.eval()
    for _, batch in samples:
        generate(model, batch.to(model.t5.device))


class PublishedTraining:
    """A training step: eager attention, COO propagation, float32, AdamW as it comes."""

    def __init__(self, model: ELMRec, lr: float = 1e-3) -> None:
        self.model = model
        model.t5.set_attn_implementation("eager")
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        self.matrix = None
        if model.nodes is not None:
            n = len(model.graph_crow) - 1
            rows = torch.arange(n, device=model.graph_crow.device)
            rows = torch.repeat_interleave(rows, model.graph_crow.diff())
            self.matrix = torch.sparse_coo_tensor(
                torch.stack([rows, model.graph_col]), model.graph_values, (n, n)
            ).coalesce()

    def table(self, scheme: WholeWords) -> torch.Tensor:
        """W, propagated hop by hop through autograd."""
        if scheme is WholeWords.POSITION:
            return self.model.positions.weight
        hops = [self.model.nodes.weight]
        for _ in range(self.model.config.graph_layers):
            hops.append(torch.sparse.mm(self.matrix, hops[-1]))
        return torch.stack(hops).mean(dim=0)

    def loss(self, batch: Batch) -> torch.Tensor:
        """The loss by transformers' own forward."""
        model, k = self.model, self.model.config.prompt_num
        table = self.table(model.schemes[batch.task])
        words = torch.nn.functional.embedding(batch.whole_word_ids, table, padding_idx=0)
        embeds = model.t5.shared(batch.input_ids) + model.config.alpha * words
        prompts = model.prompts.weight[batch.task * k : (batch.task + 1) * k]
        embeds = torch.cat([prompts.expand(len(embeds), -1, -1), embeds], dim=1)
        mask = torch.cat([batch.attention_mask.new_ones(len(embeds), k), batch.attention_mask], 1)
        return model.t5(inputs_embeds=embeds, attention_mask=mask, labels=batch.labels).loss

    def step(self, batch: Batch) -> None:
        """Forward, backward, update."""
        loss = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
