/** A function that the model wants called. */
export interface ToolCall {
  readonly name: string;
  /** JSON text, as the API has it. */
  readonly arguments: string;
}

/** What has become certain of a call. */
export interface ToolCallPiece {
  /** Number of the call in its completion. */
  readonly index: number;
  /** With the first piece of the call. */
  readonly name?: string;
  /** What the JSON text of the arguments goes on with. */
  readonly arguments: string;
  /** Whether it is the last piece of the call. */
  readonly done: boolean;
}

/** Collects pieces of calls, one call after the other; those of one call that come together are one. */
export class CallPieces {
  #index = -1;
  #pieces: ToolCallPiece[] = [];

  begin(name: string): void {
    this.#index++;
    this.#pieces.push({ index: this.#index, name, arguments: '', done: false });
  }

  add(text: string, done = false): void {
    const last = this.#pieces.at(-1);
    if (last?.index !== this.#index) {
      this.#pieces.push({ index: this.#index, arguments: text, done });
    } else this.#pieces[this.#pieces.length - 1] = { ...last, arguments: last.arguments + text, done };
  }

  whole(call: ToolCall): void {
    this.begin(call.name);
    this.add(call.arguments, true);
  }

  /** Those since the last time. */
  take(): readonly ToolCallPiece[] {
    const pieces = this.#pieces.filter(({ name, arguments: text, done }) => name !== undefined || text !== '' || done);
    this.#pieces = [];
    return pieces;
  }
}

/** Adds a piece to the calls of a completion. */
export function assembleCall(calls: ToolCall[], { index, name = '', arguments: text }: ToolCallPiece): void {
  const known = calls[index];
  calls[index] = { name: known?.name ?? name, arguments: (known?.arguments ?? '') + text };
}
