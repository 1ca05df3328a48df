/** A fenced block of Markdown. */
export interface CodeBlock {
  /** The word behind the fence, in lower case; empty where there is none. */
  readonly language: string;
  readonly code: string;
}

/** How fences call the languages of sandboxes; a fence without a word may be any. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  python: ['', 'python', 'python3', 'py'],
  javascript: ['', 'javascript', 'js', 'mjs', 'node'],
};

/** The fenced code blocks of a text, in order. A block that the end of the text cuts off is one too. Linear in the text. */
export function codeBlocks(text: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let open: { readonly fence: string; readonly language: string; readonly lines: string[] } | undefined;
  for (const line of text.split(/\r?\n/)) {
    const fence = /^ {0,3}(`{3,}|~{3,})(.*)$/.exec(line);
    if (open) {
      const closes = fence && fence[1]!.startsWith(open.fence) && fence[2]!.trim() === '';
      if (!closes) open.lines.push(line);
      else {
        blocks.push({ language: open.language, code: open.lines.join('\n') });
        open = undefined;
      }
    } else if (fence && !fence[2]!.includes('`')) {
      open = { fence: fence[1]!, language: fence[2]!.trim().split(/\s/, 1)[0]!.toLowerCase(), lines: [] };
    }
  }
  if (open) blocks.push({ language: open.language, code: open.lines.join('\n') });
  return blocks;
}

/** The definition of a name in either language, from the beginning of its line; undefined where there is none. */
export function definitionOf(name: string, code: string): number | undefined {
  const escaped = name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  const found = new RegExp(
    `^[ \\t]*(?:(?:export\\s+)?(?:async\\s+)?(?:def|class|function\\*?|const|let|var)\\s+)?${escaped}\\s*(?:[(:{]|=(?!=)|extends)`,
    'gm',
  );
  for (const match of code.matchAll(found)) {
    // A call begins as a definition without a word does.
    if (/^[ \t]*(?:export|async|def|class|function|const|let|var)\b/.test(match[0]) || match[0].endsWith('='))
      return match.index;
  }
  return undefined;
}

/**
 * The program of a completion, as models answer: the last fenced block of the language that defines `entryPoint`; where none
 * does, the last block; without any, the whole text, which then continues a prompt of code.
 */
export function extractCode(completion: string, language: string, entryPoint?: string): string {
  const names = NAMES[language] ?? ['', language];
  const blocks = codeBlocks(completion).filter((block) => names.includes(block.language));
  const defining = entryPoint && blocks.findLast(({ code }) => definitionOf(entryPoint, code) !== undefined);
  return (defining || blocks.at(-1))?.code ?? completion;
}
