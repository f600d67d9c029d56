// False while a component is built: what runs at a module's top level then has no host.
export const component = { isRunning: false };
