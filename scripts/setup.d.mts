export declare function pnpm(): string[];
export declare function npm(): string[];
export declare function tool(packageName: string, binName?: string): [string, string];
