"""datatrove's fastest words, for the benchmarks that time it without spaCy."""

from datatrove.utils.word_tokenizers import WordTokenizer


class Split(WordTokenizer):
    """A datatrove word tokenizer whose words are those of str.split and whose only sentence is the text."""

    def word_tokenize(self, text: str) -> list[str]:
        """Words at white space."""
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        """The text as one sentence."""
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """The text as one span."""
        return [(0, len(text))]
