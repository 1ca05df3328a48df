export declare function pnpm(): string[];
export declare function npm(): string[];
export declare function tool(packageName: string, binName?: string): [string, string];
/** Runs `[command, ...arguments]` in the repository root, without stdin; returns the exit status (128 + n for signal n). */
export function run(command: readonly string[]): number;
