"""python -m pipelines.publish [RUN] --publish URL: copy what is finished of a run to a URL, whole or not at all.

Every command but curate.run and mix.build takes the URL in place of a run folder:

    python -m pipelines.publish runs/clinical --publish s3://bucket/runs/clinical
    torchrun -m train.launch s3://bucket/runs/clinical         works in runs/clinical, or in --output

Published are pipeline.yaml, manifest.json, documents/, held_out/, removed/, edited/, tokenizer/, packed/ with
mixture.json, finished training runs without their checkpoints (train.archive moves those), eval/ and report.html.
With `storage: {publish: URL}` in the pipeline file, the commands that finish a piece publish it themselves.
"""

from pipelines import cli


def main(argv: list[str] | None = None) -> None:
    """The command."""
    pipeline, _ = cli.parse("pipelines.publish", __doc__ or "", "storage", argv)
    from curate.files import alone
    from pipelines.published import publish_finished

    if not pipeline.storage.publish:
        raise ValueError("storage.publish: is empty, so there is nowhere to publish to. Add --publish URL.")
    with alone(pipeline.folder):
        publish_finished(pipeline)


if __name__ == "__main__":
    cli.run(main)
