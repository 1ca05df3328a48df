/**
 * The merges of a SentencePiece BPE vocabulary, which has scores in their place. SentencePiece joins the two neighbours
 * whose joint piece has the highest score; so a pair of pieces may be joined when the whole is a piece too, the highest
 * score first. Of pairs that make the same piece the one with the shorter left part is first.
 *
 * @param pieces with their scores
 */
export function mergesFromScores(pieces: ReadonlyMap<string, number>): [left: string, right: string][] {
  const merges: { readonly pair: [string, string]; readonly score: number }[] = [];
  for (const [piece, score] of pieces) {
    let at = 0;
    for (const character of piece) {
      at += character.length;
      if (at === piece.length) break;
      const pair: [string, string] = [piece.slice(0, at), piece.slice(at)];
      if (pieces.has(pair[0]) && pieces.has(pair[1])) merges.push({ pair, score });
    }
  }
  // Sorting is stable: equal scores keep the order of the vocabulary.
  return merges.sort((a, b) => b.score - a.score).map(({ pair }) => pair);
}
