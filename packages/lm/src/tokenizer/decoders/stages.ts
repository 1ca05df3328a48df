/**
 * One step of decoding, fed token by token. Where a step before it has joined all tokens, what it gets are `fragments` of
 * the one token that there is; a step that needs that token whole waits for the end.
 */
export interface DecoderStage {
  /** Whether it joins all tokens to one, which it hands on in fragments. */
  readonly joins: boolean;
  fragments: boolean;
  push(token: string, out: string[]): void;
  /** Ends the text; the stage can then be used anew. */
  flush(out: string[]): void;
  /** Batch path: all tokens in one call, where that is quicker than one by one. */
  all?(tokens: readonly string[]): string;
}

interface PerTokenOptions {
  /** Whether the last token is treated in another way, so that one is held back. */
  readonly needsLast?: boolean;
  /** Whether it works on each character by itself, so that fragments can be treated alone. */
  readonly byCharacter?: boolean;
  /** It only removes so many of a character from the start. */
  readonly stripsStart?: { readonly content: string; readonly start: number } | undefined;
}

/** A step that turns each token into a text or, where undefined, leaves it out. */
export class PerToken implements DecoderStage {
  readonly joins = false;
  fragments = false;
  readonly #decode: (token: string, index: number, isLast: boolean) => string | undefined;
  readonly #options: PerTokenOptions;
  #index = 0;
  #held: string | undefined;
  #stripped = 0;

  constructor(
    decode: (token: string, index: number, isLast: boolean) => string | undefined,
    options: PerTokenOptions = {},
  ) {
    this.#decode = decode;
    this.#options = options;
  }

  push(token: string, out: string[]): void {
    const { needsLast, byCharacter, stripsStart } = this.#options;
    if (!this.fragments) {
      const ready = needsLast ? this.#held : token;
      if (ready !== undefined) this.#emit(ready, false, out);
      if (needsLast) this.#held = token;
    } else if (byCharacter) out.push(this.#decode(token, 0, true) ?? '');
    else if (stripsStart) out.push(this.#stripStart(token, stripsStart));
    else this.#held = (this.#held ?? '') + token;
  }

  flush(out: string[]): void {
    const { byCharacter, stripsStart } = this.#options;
    if (this.fragments && !byCharacter && !stripsStart) this.#held ??= '';
    if (this.#held !== undefined) this.#emit(this.#held, true, out);
    this.#held = undefined;
    this.#index = 0;
    this.#stripped = 0;
  }

  #emit(token: string, isLast: boolean, out: string[]): void {
    const text = this.#decode(token, this.#index++, isLast);
    if (text !== undefined) out.push(text);
  }

  #stripStart(fragment: string, { content, start }: { readonly content: string; readonly start: number }): string {
    let rest = fragment;
    while (this.#stripped < start && rest.startsWith(content)) {
      rest = rest.slice(content.length);
      this.#stripped++;
    }
    if (rest !== '') this.#stripped = start;
    return rest;
  }
}

export class Fuse implements DecoderStage {
  readonly joins = true;
  fragments = false;

  push(token: string, out: string[]): void {
    out.push(token);
  }

  flush(): void {}
}

const encoder = new TextEncoder();

/** Streaming UTF-8 decoder of byte-level tokens; what is not UTF-8 becomes U+FFFD. */
export class ByteLevelStage implements DecoderStage {
  readonly joins = true;
  fragments = false;
  readonly #bytesOf: (token: string) => number[] | undefined;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #whole = '';

  constructor(bytesOf: (token: string) => number[] | undefined) {
    this.#bytesOf = bytesOf;
  }

  push(token: string, out: string[]): void {
    if (this.fragments) this.#whole += token;
    else this.#decode(token, out);
  }

  flush(out: string[]): void {
    if (this.fragments) this.#decode(this.#whole, out);
    this.#whole = '';
    const rest = this.#decoder.decode();
    if (rest !== '') out.push(rest);
  }

  all(tokens: readonly string[]): string {
    const bytes: number[] = [];
    for (const token of tokens) for (const byte of this.#bytesOf(token) ?? encoder.encode(token)) bytes.push(byte);
    return this.#decoder.decode(Uint8Array.from(bytes));
  }

  #decode(token: string, out: string[]): void {
    const bytes = this.#bytesOf(token);
    const text = this.#decoder.decode(bytes ? Uint8Array.from(bytes) : encoder.encode(token), { stream: true });
    if (text !== '') out.push(text);
  }
}

/** Runs of `<0xXX>` tokens. A run that is not UTF-8 as a whole is one U+FFFD a byte, so its end must be known. */
export class ByteFallbackStage implements DecoderStage {
  readonly joins = false;
  fragments = false;
  readonly #byteOf: (token: string) => number | undefined;
  #run: number[] = [];
  #whole = '';

  constructor(byteOf: (token: string) => number | undefined) {
    this.#byteOf = byteOf;
  }

  push(token: string, out: string[]): void {
    if (this.fragments) {
      this.#whole += token;
      return;
    }
    const byte = this.#byteOf(token);
    if (byte !== undefined) this.#run.push(byte);
    else {
      this.#endRun(out);
      out.push(token);
    }
  }

  flush(out: string[]): void {
    if (this.fragments) {
      const byte = this.#byteOf(this.#whole);
      if (byte === undefined) out.push(this.#whole);
      else this.#run.push(byte);
      this.#whole = '';
    }
    this.#endRun(out);
  }

  #endRun(out: string[]): void {
    if (this.#run.length === 0) return;
    try {
      out.push(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(this.#run)));
    } catch {
      for (const _ of this.#run) out.push('\ufffd');
    }
    this.#run = [];
  }
}

/** Turns the whole text at the end, and before that what no later text can change: all up to `settled(text)`. */
export class TextStage implements DecoderStage {
  readonly joins = true;
  fragments = true;
  readonly #turn: (text: string) => string;
  readonly #settled: (text: string) => number;
  #held = '';

  constructor(turn: (text: string) => string, settled: (text: string) => number) {
    this.#turn = turn;
    this.#settled = settled;
  }

  push(token: string, out: string[]): void {
    this.#held += token;
    const end = this.#settled(this.#held);
    if (end === 0) return;
    out.push(this.#turn(this.#held.slice(0, end)));
    this.#held = this.#held.slice(end);
  }

  flush(out: string[]): void {
    out.push(this.#turn(this.#held));
    this.#held = '';
  }
}

/** A pipeline of stages. */
export class StageChain {
  readonly #stages: readonly DecoderStage[];

  constructor(stages: readonly DecoderStage[]) {
    this.#stages = stages;
    let joined = false;
    for (const stage of stages) {
      stage.fragments ||= joined;
      joined ||= stage.joins;
    }
  }

  push(token: string): string {
    return this.#run(0, [token]);
  }

  flush(): string {
    let text = '';
    this.#stages.forEach((stage, i) => {
      const out: string[] = [];
      stage.flush(out);
      text += this.#run(i + 1, out);
    });
    return text;
  }

  #run(from: number, tokens: readonly string[]): string {
    let current = tokens;
    for (const stage of this.#stages.slice(from)) {
      const out: string[] = [];
      for (const token of current) stage.push(token, out);
      current = out;
    }
    return current.join('');
  }
}

/** Batch decoding of a stage. */
export function runStage(stage: DecoderStage, tokens: readonly string[]): readonly string[] {
  if (stage.all) return [stage.all(tokens)];
  const out: string[] = [];
  for (const token of tokens) stage.push(token, out);
  stage.flush(out);
  return stage.joins ? [out.join('')] : out;
}
