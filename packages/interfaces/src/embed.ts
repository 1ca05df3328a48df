/** Anything that maps texts to vectors of one length. */
export interface Embedder {
  readonly name: string;
  embed(texts: readonly string[]): Promise<Float32Array[]>;
}

/** A text's tokens with a vector each. */
export interface TokenVectors {
  /** What names a token, the same for the same token of all texts: its text, or its id as text. */
  readonly tokens: readonly string[];
  /** Of one length. */
  readonly vectors: readonly Float32Array[];
  /** Tokens that the tokenizer adds and no text has (`[CLS]`, `[SEP]`). */
  readonly special: readonly boolean[];
}

/** Anything that maps the tokens of texts to vectors: an encoder's hidden states (`LocalEmbedder` of `@posttrain/lm`). */
export interface TokenEmbedder {
  readonly name: string;
  /** One entry a text, in their order. */
  tokenVectors(texts: readonly string[]): Promise<TokenVectors[]>;
}
